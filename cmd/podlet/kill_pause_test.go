package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// kinds are the kinds of pods whose end the kernel or podlet has to see to in different ways.
var kinds = []struct {
	name    string
	change  func(*cri.NamespaceOption)
	hostPID bool
	own     bool // a network namespace of its own
}{
	{"plain", func(*cri.NamespaceOption) {}, false, true},
	{"hostnetwork", func(o *cri.NamespaceOption) { o.Network = cri.NamespaceMode_NODE }, false, false},
	{"sharedpid", func(o *cri.NamespaceOption) { o.Pid = cri.NamespaceMode_POD }, false, true},
	{"userns", userNS, false, true},
	{"hostpid", func(o *cri.NamespaceOption) { o.Pid = cri.NamespaceMode_NODE }, true, true},
}

// observed tells the observer which pods have pins.
func observed(own bool) func(*cri.PodSandboxConfig) {
	return func(c *cri.PodSandboxConfig) {
		if own {
			c.Labels = map[string]string{ownNetwork: "yes"}
		}
	}
}

// family is a container that is more than one process, some with a session of their own.
var family = []string{"sh", "-c", "setsid sleep 1000 & sleep 1000 & (setsid sh -c 'sleep 1000 & sleep 1000') & sleep 1000"}

// victim is a pod whose pause is going to be killed.
type victim struct {
	name       string
	hostPID    bool
	pod        string
	containers []string
	pause      int
	processes  []int
}

// victims runs a pod of each kind with two containers of five processes.
func (n *node) victims(suffix string) []*victim {
	n.t.Helper()
	var all []*victim
	for _, k := range kinds {
		sandbox := n.sandbox(k.name+suffix, sharing(k.change), observed(k.own))
		v := &victim{name: k.name, hostPID: k.hostPID, pod: n.run(sandbox)}
		for _, name := range []string{"a", "b"} {
			v.containers = append(v.containers, n.startIn(v.pod, sandbox, n.like(sandbox, container(name, family...))))
		}
		v.pause = n.seenPod(v.pod).PID
		all = append(all, v)
	}
	for _, v := range all {
		for _, c := range v.containers {
			v.processes = append(v.processes, n.grown(c, 5)...)
		}
	}
	return all
}

// grown waits until the container has as many processes, and gives them.
func (n *node) grown(container string, count int) (pids []int) {
	n.t.Helper()
	n.soon(fmt.Sprintf("container %s has %d processes", container, count), func() bool {
		pids = n.observe().containers[container]
		return len(pids) >= count
	})
	return pids
}

// alive counts those of the processes that have not ended.
func alive(pids []int) (left []int) {
	for _, pid := range pids {
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && !zombie(stat) {
			left = append(left, pid)
		}
	}
	return left
}

// zombie reads /proc/PID/stat of a process whose name has no parenthesis.
func zombie(stat []byte) bool {
	var pid int
	var name, state string
	fmt.Sscan(string(stat), &pid, &name, &state)
	return state == "Z" || state == "X"
}

// gone measures how long it takes until none of the processes is left.
func gone(t *testing.T, what string, began time.Time, pids []int) time.Duration {
	t.Helper()
	for {
		left := alive(pids)
		took := time.Since(began)
		if len(left) == 0 {
			return took
		}
		if took > hangTime {
			t.Fatalf("%s: %d of %d processes live on", what, len(left), len(pids))
		}
		time.Sleep(200 * time.Microsecond)
	}
}

// lives are the times that processes lived on after something, by who they were.
type lives map[string]time.Duration

// tell says how long it was, which is the kernel's business and that of whoever else has something to do on this machine.
func (l lives) tell(t *testing.T, after string) {
	t.Helper()
	sorted := slices.Sorted(maps.Values(l))
	t.Logf("processes lived on after %s for %v (p50), %v (most)", after, sorted[(len(sorted)-1)/2], sorted[len(sorted)-1])
}

// endedWithPause checks what podlet says of a pod whose pause was killed.
func (n *node) endedWithPause(v *victim) {
	n.t.Helper()
	n.soon(v.name+": the sandbox is not ready", func() bool {
		r, err := n.PodSandboxStatus(n.ctx(), &cri.PodSandboxStatusRequest{PodSandboxId: v.pod})
		if err != nil {
			n.t.Fatal(err)
		}
		return r.Status.State == cri.PodSandboxState_SANDBOX_NOTREADY
	})
	for _, c := range v.containers {
		if s := n.exited(c); s.ExitCode != 137 || s.Reason != "Error" || s.Message == "" || s.FinishedAt == 0 {
			n.t.Errorf("%s: container %v", v.name, s)
		}
	}
}

var deadly = []unix.Signal{unix.SIGKILL, unix.SIGSEGV}

// TestPauseKilled kills pause while podlet lives.
func TestPauseKilled(t *testing.T) {
	if !private(t) {
		return
	}
	n := newNode(t)
	mounts := mountTable()
	took := lives{}
	for _, signal := range deadly {
		for _, v := range n.victims(fmt.Sprint("-", int(signal))) {
			began := time.Now()
			if err := unix.Kill(v.pause, signal); err != nil {
				t.Fatal(err)
			}
			took[fmt.Sprint(v.name, " ", signal)] = gone(t, v.name, began, append(v.processes, v.pause))
			n.endedWithPause(v)
		}
	}
	took.tell(t, "pause")
	n.networksStay(n.agree(mounts))
	n.emptied(mounts)
}

// TestPauseKilledWithoutPodlet kills pause while no podlet is there.
func TestPauseKilledWithoutPodlet(t *testing.T) {
	if !private(t) {
		return
	}
	n := newNode(t)
	mounts := mountTable()
	var all []*victim
	took, tookPodlet := lives{}, lives{}
	for _, signal := range deadly {
		victims := n.victims(fmt.Sprint("-", int(signal)))
		n.kill()
		for _, v := range victims {
			began := time.Now()
			if err := unix.Kill(v.pause, signal); err != nil {
				t.Fatal(err)
			}
			if v.hostPID {
				gone(t, v.name, began, []int{v.pause})
				continue
			}
			took[fmt.Sprint(v.name, " ", signal)] = gone(t, v.name, began, append(v.processes, v.pause))
		}
		n.start()
		began := time.Now()
		for _, v := range victims {
			if v.hostPID { // of the others it is known already, and their pids may be somebody else's
				tookPodlet[fmt.Sprint(v.name, " ", signal)] = gone(t, v.name, began, v.processes)
			}
			n.endedWithPause(v)
		}
		all = append(all, victims...)
	}
	took.tell(t, "pause, without podlet,")
	tookPodlet.tell(t, "podlet's answer")
	n.networksStay(n.agree(mounts))
	// A second restart changes nothing of what is known.
	before := n.statuses(all)
	n.kill()
	n.start()
	for id, s := range n.statuses(all) {
		if s.FinishedAt != before[id].FinishedAt || s.ExitCode != before[id].ExitCode || s.State != before[id].State {
			t.Errorf("after another restart %v, before %v", s, before[id])
		}
	}
	n.emptied(mounts)
}

// networksStay: pods that ended by themselves have their namespaces and addresses until somebody stops them.
func (n *node) networksStay(l lists) {
	n.t.Helper()
	if len(l.networked) == 0 {
		n.t.Error("no pod whose pause was killed has its network")
	}
}

func (n *node) statuses(victims []*victim) map[string]*cri.ContainerStatus {
	n.t.Helper()
	all := map[string]*cri.ContainerStatus{}
	for _, v := range victims {
		for _, c := range v.containers {
			all[c] = n.status(c)
		}
	}
	return all
}

// untilEnd lets a shell wait for the file that ends all containers of a pod that do so.
const untilEnd = "while ! [ -e /dev/shm/end ]; do sleep 0.01; done"

// watched is a container's first process, for somebody who doesn't ask podlet.
type watched struct {
	pid, parent, pidfd int
}

// watch gives nil if there is no such process any more. It is for one that pause is going to reap, so that its parent stays the same.
func watch(pid int) *watched {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil
	}
	p, ok := processAt(pid)
	if !ok {
		unix.Close(pidfd)
		return nil
	}
	return &watched{pid, p.parent, pidfd}
}

// watched is watch for a container that runs.
func (n *node) watched(container string) *watched {
	n.t.Helper()
	w := watch(n.seenContainer(container).PID)
	if w == nil {
		n.t.Fatalf("container %s doesn't run", container)
	}
	n.t.Cleanup(func() { unix.Close(w.pidfd) })
	return w
}

// told says whether pause has done all that it does about the end of a process that wrote nothing: it has reaped it, and then come to where it sleeps until the next event. (Its state
// alone says nothing: the kernel sets that to sleeping for the time of a wait4.)
func (w *watched) told() bool {
	if unix.PidfdSendSignal(w.pidfd, 0, nil, 0) != unix.ESRCH {
		return false
	}
	sleeps, _ := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", w.parent))
	return strings.HasPrefix(string(sleeps), fmt.Sprint(unix.SYS_EPOLL_PWAIT, " "))
}

// TestExitBeforePauseDied: what pause said before it died counts, even if podlet hears both at once.
func TestExitBeforePauseDied(t *testing.T) {
	if !private(t) {
		return
	}
	n := newNode(t)
	mounts := mountTable()
	sandbox := n.sandbox("early")
	pod := n.run(sandbox)
	pause := n.seenPod(pod).PID
	lives := n.startIn(pod, sandbox, container("lives", "sleep", "1000"))
	end := fmt.Sprintf("/proc/%d/root/dev/shm/end", n.seenContainer(lives).PID)
	var early []string
	var firsts []*watched
	for i := range 3 {
		c := n.startIn(pod, sandbox, container(fmt.Sprint("early", i), "sh", "-c", fmt.Sprintf("%s; exit %d", untilEnd, i)))
		early, firsts = append(early, c), append(firsts, n.watched(c))
	}
	podlet := n.cmd.Process.Pid
	if err := unix.Kill(podlet, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer unix.Kill(podlet, unix.SIGCONT)
	if err := os.WriteFile(end, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range firsts {
		n.soon("pause has told of an exit", p.told)
	}
	unix.Kill(pause, unix.SIGKILL)
	gone(t, "pause", time.Now(), []int{pause})
	unix.Kill(podlet, unix.SIGCONT)
	for i, c := range early {
		if s := n.exited(c); int(s.ExitCode) != i {
			t.Errorf("a container that exited %d before pause died: %v", i, s)
		}
	}
	if s := n.exited(lives); s.ExitCode != 137 {
		t.Errorf("a container that died with pause: %v", s)
	}
	n.emptied(mounts)
}

// TestExitBeforeStop: pause tells of an exit only after the output has ended or some time has passed; a stop of the pod asks for it.
func TestExitBeforeStop(t *testing.T) {
	if !private(t) {
		return
	}
	n := newNode(t)
	mounts := mountTable()
	// In a shared PID namespace a child that holds the output outlives the container's first process.
	sandbox := n.sandbox("stopped", sharing(func(o *cri.NamespaceOption) { o.Pid = cri.NamespaceMode_POD }))
	pod := n.run(sandbox)
	c := n.startIn(pod, sandbox, n.like(sandbox, container("app", "sh", "-c", "sleep 1000 & "+untilEnd+"; exit 7")))
	p := n.watched(c)
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/root/dev/shm/end", p.pid), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n.soon("pause has told of the exit", p.told)
	if _, err := n.StopPodSandbox(n.ctx(), &cri.StopPodSandboxRequest{PodSandboxId: pod}); err != nil {
		t.Fatal(err)
	}
	if s := n.status(c); s.ExitCode != 7 || s.State != cri.ContainerState_CONTAINER_EXITED {
		t.Errorf("a container that exited 7 just before its pod was stopped: %v", s)
	}
	n.emptied(mounts)
}
