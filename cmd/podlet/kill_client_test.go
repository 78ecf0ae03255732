package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// mark says how a call went, as its client knows it.
type mark int

const (
	notCalled    mark = iota
	inDoubt           // called, and podlet died before it answered
	acknowledged      // answered
)

// clientPod is what a client knows of a pod of his.
type clientPod struct {
	name              string
	id                string // "" if the answer never came
	own               bool
	sandbox           *cri.PodSandboxConfig
	run, stop, remove mark
	containers        []*clientContainer
	made              int // containers ever made in it
}

// clientContainer is what a client knows of a container of his.
type clientContainer struct {
	name                        string
	id                          string
	code                        int
	lives                       time.Duration // forever: it never ends by itself
	create, start, stop, remove mark
	began                       time.Time // before it was started

	mu sync.Mutex
	// noticed is when somebody outside podlet saw it end, told when pause had noted that at the latest; zero: nobody knows.
	noticed, told time.Time
}

const forever = time.Duration(1<<63 - 1)

// client is one that makes and deletes pods, and keeps a log of what was acknowledged.
type client struct {
	n      *node
	number int
	random *rand.Rand
	pods   []*clientPod
	made   int
	wrong  []string
}

var errDied = errors.New("podlet died")

// call makes a call and keeps how it went.
func (c *client) call(m *mark, what string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), hangTime)
	defer cancel()
	*m = inDoubt
	err := f(ctx)
	if err == nil {
		*m = acknowledged
		return nil
	}
	if status.Code(err) == codes.Unavailable || status.Code(err) == codes.Canceled {
		return errDied
	}
	c.wrong = append(c.wrong, fmt.Sprintf("%s: %v", what, err))
	return err
}

func (c *client) runPod(own bool) (*clientPod, error) {
	c.made++
	p := &clientPod{name: fmt.Sprintf("w%d-%d", c.number, c.made), own: own}
	p.sandbox = c.n.sandbox(p.name, inNetwork(own))
	c.pods = append(c.pods, p)
	return p, c.call(&p.run, "run "+p.name, func(ctx context.Context) error {
		r, err := c.n.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: p.sandbox})
		p.id = r.GetPodSandboxId()
		return err
	})
}

// inNetwork makes a pod with a network namespace of its own, or the node's.
func inNetwork(own bool) func(*cri.PodSandboxConfig) {
	return func(s *cri.PodSandboxConfig) {
		observed(own)(s)
		if !own {
			s.Linux.SecurityContext.NamespaceOptions.Network = cri.NamespaceMode_NODE
		}
	}
}

// startIn creates and starts a container that ends with code after lives.
func (c *client) startIn(p *clientPod, code int, lives time.Duration) (*clientContainer, error) {
	p.made++
	k := &clientContainer{name: fmt.Sprintf("c%d", p.made), code: code, lives: lives}
	p.containers = append(p.containers, k)
	command := fmt.Sprintf("sleep %.3f; exit %d", lives.Seconds(), code)
	if lives == forever {
		command = "sleep 100000; exit 1"
	}
	config := container(k.name, "sh", "-c", command)
	config.Linux = &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{
		NamespaceOptions: p.sandbox.Linux.SecurityContext.NamespaceOptions,
	}}
	err := c.call(&k.create, "create "+p.name+"/"+k.name, func(ctx context.Context) error {
		r, err := c.n.CreateContainer(ctx, &cri.CreateContainerRequest{PodSandboxId: p.id, Config: config, SandboxConfig: p.sandbox})
		k.id = r.GetContainerId()
		return err
	})
	if err != nil {
		return k, err
	}
	k.began = time.Now()
	err = c.call(&k.start, "start "+p.name+"/"+k.name, func(ctx context.Context) error {
		_, err := c.n.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: k.id})
		return err
	})
	if err == nil {
		k.watch(c.n.cgroup)
	}
	return k, err
}

func (c *client) stop(p *clientPod, k *clientContainer) error {
	return c.call(&k.stop, "stop "+p.name+"/"+k.name, func(ctx context.Context) error {
		_, err := c.n.StopContainer(ctx, &cri.StopContainerRequest{ContainerId: k.id})
		return err
	})
}

func (c *client) remove(p *clientPod, k *clientContainer) error {
	return c.call(&k.remove, "remove "+p.name+"/"+k.name, func(ctx context.Context) error {
		_, err := c.n.RemoveContainer(ctx, &cri.RemoveContainerRequest{ContainerId: k.id})
		return err
	})
}

func (c *client) stopPod(p *clientPod) error {
	return c.call(&p.stop, "stop "+p.name, func(ctx context.Context) error {
		_, err := c.n.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: p.id})
		return err
	})
}

func (c *client) removePod(p *clientPod) error {
	return c.call(&p.remove, "remove "+p.name, func(ctx context.Context) error {
		_, err := c.n.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: p.id})
		return err
	})
}

func (c *client) execTrue(p *clientPod, k *clientContainer) error {
	var m mark
	return c.call(&m, "exec in "+p.name+"/"+k.name, func(ctx context.Context) error {
		_, err := c.n.ExecSync(ctx, &cri.ExecSyncRequest{ContainerId: k.id, Cmd: []string{"true"}, Timeout: int64(hangTime / time.Second)})
		return err
	})
}

// watch notices the end of the container's first process by the kernel's word alone.
func (k *clientContainer) watch(parent string) {
	w := watch(firstProcess(parent, k.id))
	if w == nil {
		return
	}
	note := func(when *time.Time) {
		now := time.Now()
		k.mu.Lock()
		*when = now
		k.mu.Unlock()
	}
	go func() {
		defer unix.Close(w.pidfd)
		for {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(w.pidfd), Events: unix.POLLIN}}, -1)
			if n == 1 {
				break
			}
			if err != nil && !errors.Is(err, unix.EINTR) {
				return
			}
		}
		note(&k.noticed)
		for !w.told() {
			if stateOf(w.parent) == "" {
				return // pause took what it knew along
			}
			time.Sleep(time.Millisecond)
		}
		note(&k.told)
	}()
}

// firstProcess is the process in the container's cgroup whose parent is not in it.
func firstProcess(parent, id string) int {
	for _, file := range append(glob("/sys/fs/cgroup/"+parent+"/"+id+"/cgroup.procs"), glob("/sys/fs/cgroup/*/"+parent+"/"+id+"/cgroup.procs")...) {
		text, _ := os.ReadFile(file)
		var pids []int
		for _, field := range strings.Fields(string(text)) {
			pid, _ := strconv.Atoi(field)
			pids = append(pids, pid)
		}
		for _, pid := range pids {
			stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			var number, above int
			var name, state string
			fmt.Sscan(string(stat), &number, &name, &state, &above)
			if number == pid && !slices.Contains(pids, above) {
				return pid
			}
		}
	}
	return 0
}

// timing is how far podlet's times of ends were from what was noticed outside, for people: how late pause or the observer got his turn is not podlet's business.
type timing struct {
	ends map[string]time.Duration // by container
}

// compare holds the client's log against what podlet says, settles what was in doubt, and forgets what is gone.
func (c *client) compare(l lists, status func(id string) *cri.ContainerStatus, times *timing) {
	var kept []*clientPod
	for _, p := range c.pods {
		if p.run == inDoubt {
			p.adopt(l)
			if p.id == "" {
				continue
			}
			p.run = acknowledged
		}
		listed := l.pods[p.id]
		if listed == nil {
			if p.remove == notCalled {
				c.wrong = append(c.wrong, fmt.Sprintf("pod %s was acknowledged and is not listed", p.name))
			}
			continue
		}
		if p.remove == acknowledged {
			c.wrong = append(c.wrong, fmt.Sprintf("pod %s was removed and is listed", p.name))
		}
		ready := listed.State == cri.PodSandboxState_SANDBOX_READY
		untouched := p.stop == notCalled && p.remove == notCalled
		if ready && p.stop == acknowledged || !ready && untouched {
			c.wrong = append(c.wrong, fmt.Sprintf("pod %s is %v; stop %d, remove %d", p.name, listed.State, p.stop, p.remove))
		}
		var containers []*clientContainer
		for _, k := range p.containers {
			if c.compareContainer(p, k, l, status, times) {
				containers = append(containers, k)
			}
		}
		p.containers = containers
		kept = append(kept, p)
	}
	c.pods = kept
}

// adopt finds a pod whose id was never told.
func (p *clientPod) adopt(l lists) {
	for id, listed := range l.pods {
		if listed.Metadata.Name == p.name {
			p.id = id
		}
	}
}

// compareContainer gives false for one that isn't there any more.
func (c *client) compareContainer(p *clientPod, k *clientContainer, l lists, status func(id string) *cri.ContainerStatus, times *timing) bool {
	add := func(format string, args ...any) {
		c.wrong = append(c.wrong, fmt.Sprintf("container %s/%s (%.8s): ", p.name, k.name, k.id)+fmt.Sprintf(format, args...))
	}
	if k.create == inDoubt {
		for id, listed := range l.containers {
			if listed.PodSandboxId == p.id && listed.Metadata.Name == k.name {
				k.id, k.create = id, acknowledged
			}
		}
		if k.create == inDoubt {
			return false
		}
	}
	listed := l.containers[k.id]
	if listed == nil {
		if k.remove == notCalled && p.remove == notCalled {
			add("was acknowledged and is not listed")
		}
		return false
	}
	if k.remove == acknowledged {
		add("was removed and is listed")
	}
	s := status(k.id)
	killed := k.stop != notCalled || k.remove != notCalled || p.stop != notCalled || p.remove != notCalled
	k.mu.Lock()
	noticed, told := k.noticed, k.told
	k.mu.Unlock()
	switch s.State {
	case cri.ContainerState_CONTAINER_CREATED:
		if k.start == acknowledged {
			add("was started and is CREATED")
		}
	case cri.ContainerState_CONTAINER_RUNNING:
		if k.stop == acknowledged || p.stop == acknowledged || k.start == notCalled {
			add("is RUNNING")
		}
	case cri.ContainerState_CONTAINER_EXITED:
		ownEnd := int(s.ExitCode) == k.code && k.lives != forever
		switch {
		case k.start == notCalled:
			add("was never started and is EXITED: %v", s)
		case ownEnd, killed && s.ExitCode == 137, k.start == inDoubt && s.ExitCode == 128 && s.Reason == "ContainerCannotRun":
		default:
			add("exits with %d, lives %v; EXITED: %v", k.code, k.lives, s)
		}
		at := time.Unix(0, s.FinishedAt)
		if ownEnd && !killed && (at.Before(k.began.Add(k.lives)) || !told.IsZero() && at.After(told)) {
			add("was started after %v to live for %v, pause had seen its end by %v, and podlet says that it ended at %v", k.began, k.lives, told, at)
		}
		if ownEnd && !noticed.IsZero() && !killed {
			times.ends[k.id] = at.Sub(noticed)
		}
	default:
		add("is %v", s.State)
	}
	return true
}
