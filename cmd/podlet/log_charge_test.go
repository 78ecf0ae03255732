package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// loggerDirs are the directories of the cgroup of a pod's log writer, one in each tree that has it.
func (p *testPod) loggerDirs() []string {
	var dirs []string
	for _, tree := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		found, _ := filepath.Glob(tree + p.config.Linux.CgroupParent + "/podlet-logger-" + p.id)
		dirs = append(dirs, found...)
	}
	return dirs
}

// chargedWriter waits until the pod's log writer is in the cgroup made for it, in every tree, and gives its pid.
func (p *testPod) chargedWriter() (pid int) {
	p.n.t.Helper()
	p.n.soon("the log writer is in its cgroup", func() bool {
		pid = logWriter(p.n.seenPod(p.id).PID)
		dirs := p.loggerDirs()
		return pid > 0 && len(dirs) > 0 && !slices.ContainsFunc(dirs, func(dir string) bool {
			procs, _ := os.ReadFile(dir + "/cgroup.procs")
			return strings.TrimSpace(string(procs)) != strconv.Itoa(pid)
		})
	})
	return pid
}

// inNodesCgroup is inOwnCgroup with a cgroup that the test makes, as a kubelet does. It must be empty when it goes.
func (n *node) inNodesCgroup(name string) func(*cri.PodSandboxConfig) {
	n.t.Helper()
	trees, _ := filepath.Glob("/sys/fs/cgroup/*/cgroup.procs")
	if pureV2() {
		trees = []string{"/sys/fs/cgroup/cgroup.procs"}
	}
	for _, procs := range trees {
		dir := filepath.Join(filepath.Dir(procs), n.cgroup, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			n.t.Fatal(err)
		}
		// A new v1 cpuset has neither CPUs nor memory.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			for _, at := range []string{filepath.Dir(dir), dir} {
				if text, err := os.ReadFile(filepath.Join(filepath.Dir(at), file)); err == nil && !pureV2() {
					os.WriteFile(filepath.Join(at, file), text, 0)
				}
			}
		}
		n.t.Cleanup(func() {
			n.soon("the pod's cgroup is empty", func() bool {
				err := os.Remove(dir)
				return err == nil || errors.Is(err, fs.ErrNotExist)
			})
			os.Remove(filepath.Dir(dir))
		})
	}
	return n.inOwnCgroup(name)
}

// TestLogIsCharged: a pod's log writer is in a cgroup below the pod's cgroup parent, whichever podlet is there and however often the writer is killed. It goes with
// the pod, and nothing of it is left in a parent that is somebody else's.
func TestLogIsCharged(t *testing.T) {
	n := newNode(t)
	p := n.newPod(n.inNodesCgroup("burstable"))
	id := p.start(container("app", "sh", "-c", slowScript))
	path := n.status(id).LogPath
	writer := p.chargedWriter()
	if trees := len(p.loggerDirs()); !pureV2() && trees < 5 {
		t.Errorf("it is in %d trees: %v", trees, p.loggerDirs())
	}
	n.kill()
	n.start()
	n.grows(path)
	if now := p.chargedWriter(); now != writer {
		t.Errorf("the writer is another one since podlet was killed")
	}
	for range 5 {
		writer = p.chargedWriter()
		unix.Kill(writer, unix.SIGKILL)
		n.grows(path)
	}
	p.chargedWriter()
	n.stopCounting(id)
	n.takeEnd(numberedLog{}, path)
	if _, err := n.StopPodSandbox(n.ctx(), &cri.StopPodSandboxRequest{PodSandboxId: p.id}); err != nil {
		t.Fatal(err)
	}
	n.soon("the cgroup goes with the pod's end", func() bool { return len(p.loggerDirs()) == 0 })

	// One whose pause dies while no podlet is there.
	p = n.newPod(n.inNodesCgroup("besteffort"))
	p.start(container("app", "sh", "-c", slowScript))
	p.chargedWriter()
	pause := n.seenPod(p.id).PID
	n.kill()
	unix.Kill(pause, unix.SIGKILL)
	n.start()
	n.soon("the next podlet removes the cgroup", func() bool { return len(p.loggerDirs()) == 0 })
}

// TestLogOfSilentPod: a pod that writes nothing has no log writer, and no cgroup for one.
func TestLogOfSilentPod(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	c := p.start(container("app", "sleep", "1000"))
	n.exec(c, "echo", "hello")
	if dirs := p.loggerDirs(); len(dirs) > 0 {
		t.Errorf("%v", dirs)
	}
}

// limitMemory sets a limit of the log writer's cgroup, and oomKills reads how often the kernel has killed for want of memory in there.
// A v1 cgroup takes no limit below what it uses (EBUSY), so that its writer dies first, and pause stands still to start no other.
func (p *testPod) limitMemory(bytes int) {
	p.n.t.Helper()
	file := "memory.limit_in_bytes"
	if pureV2() {
		file = "memory.max"
	}
	pause := p.n.seenPod(p.id).PID
	if err := unix.Kill(pause, unix.SIGSTOP); err != nil {
		p.n.t.Fatal(err)
	}
	defer unix.Kill(pause, unix.SIGCONT)
	p.n.soon("the cgroup takes the limit", func() bool {
		if writer := logWriter(pause); writer > 0 {
			unix.Kill(writer, unix.SIGKILL)
		}
		return os.WriteFile(filepath.Join(p.memoryDir(), file), []byte(strconv.Itoa(bytes)), 0) == nil
	})
}

func (p *testPod) memoryDir() string {
	tree := "/sys/fs/cgroup/memory"
	if pureV2() {
		tree = "/sys/fs/cgroup"
	}
	return filepath.Join(tree, p.config.Linux.CgroupParent, "podlet-logger-"+p.id)
}

func (p *testPod) oomKills() (kills int) {
	p.n.t.Helper()
	file := "memory.oom_control"
	if pureV2() {
		file = "memory.events"
	}
	text, err := os.ReadFile(filepath.Join(p.memoryDir(), file))
	if err != nil {
		p.n.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "oom_kill ")
	if _, err := fmt.Sscan(rest, &kills); err != nil {
		p.n.t.Fatalf("%s: %v in %q", file, err, text)
	}
	return kills
}

// TestLogWriterOOM: as long as the pod has no memory for its log writer, that is killed again and again; the log gets on all the same, no line is lost or
// doubled, and it is no container's fault.
func TestLogWriterOOM(t *testing.T) {
	const tight = 8 << 10 // bytes; a writer's stack and the first page that it writes from
	n := commonNode(t)
	p := n.newPod(n.inOwnCgroup("tight"))
	id := p.start(container("app", "sh", "-c", quickScript))
	path := n.status(id).LogPath
	p.chargedWriter()
	p.limitMemory(tight)
	n.soon("writers are killed for want of memory", func() bool {
		n.grows(path)
		return p.oomKills() >= 3
	})
	n.grows(path)
	p.limitMemory(64 << 20)
	n.soon("a writer lives", func() bool {
		before := p.oomKills()
		p.chargedWriter()
		n.grows(path)
		return p.oomKills() == before
	})
	n.stopCounting(id)
	l := n.takeEnd(numberedLog{}, path)
	t.Logf("%d lines, %d kills", l.next[0], p.oomKills())

	// A container that is killed meanwhile was not killed for want of memory.
	id = p.start(container("other", "sh", "-c", "while :; do seq 10000; done"))
	n.grows(n.status(id).LogPath)
	kills := p.oomKills()
	p.limitMemory(tight)
	n.soon("a writer is killed for want of memory", func() bool { return p.oomKills() > kills })
	n.stop(id, 0)
	if s := n.status(id); s.ExitCode != 137 || s.Reason != "Error" {
		t.Errorf("%d %s %q", s.ExitCode, s.Reason, s.Message)
	}
}

// TestLogIsWholeAtTheEnd: a pod's end waits, not for long, until what its containers wrote is in their logs: a CPU limit of the pod's may hold its writer up.
func TestLogIsWholeAtTheEnd(t *testing.T) {
	const tries = 5
	n := commonNode(t)
	// A machine that is busy for as long as the end waits is no fault of podlet's, but it isn't so each time.
	for i := range tries {
		l, err := n.endsWithItsPod(fmt.Sprint("slow", i))
		if err == nil && l.ended[0] {
			return
		}
		t.Logf("end %v after %d lines: %v", l.ended[0], l.next[0], err)
	}
	t.Errorf("not in one of %d tries", tries)
}

// endsWithItsPod stops a pod whose log writer stands still until the pod is about to end, and gives what is in the log then.
func (n *node) endsWithItsPod(name string) (l numberedLog, err error) {
	n.t.Helper()
	p := n.newPod(n.inOwnCgroup(name))
	id := p.start(container("app", "sh", "-c", `
		i=0; while ! [ -e /dev/shm/stop ]; do echo $i; i=$((i+1)); sleep 0.01; done; seq $i $((i+99999)); echo end $((i+100000))`))
	path, writer := n.status(id).LogPath, p.chargedWriter()
	if err := unix.Kill(writer, unix.SIGSTOP); err != nil {
		n.t.Fatal(err)
	}
	defer unix.Kill(writer, unix.SIGCONT)
	n.stopCounting(id)
	stopped := make(chan error, 1)
	ctx := n.ctx()
	go func() {
		_, err := n.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: p.id})
		stopped <- err
	}()
	n.soon("the pod is about to end", func() bool {
		r, err := n.PodSandboxStatus(n.ctx(), &cri.PodSandboxStatusRequest{PodSandboxId: p.id})
		return err == nil && r.Status.State == cri.PodSandboxState_SANDBOX_NOTREADY
	})
	unix.Kill(writer, unix.SIGCONT)
	if err := <-stopped; err != nil {
		n.t.Fatal(err)
	}
	return l, l.take(path)
}
