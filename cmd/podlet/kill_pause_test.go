package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
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
func (n *node) grown(container string, count int) []int {
	n.t.Helper()
	var pids []int
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if pids = n.observe().containers[container]; len(pids) >= count {
			return pids
		}
	}
	n.t.Fatalf("container %s has the processes %v, not %d", container, pids, count)
	return nil
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
		if took > 5*time.Second {
			t.Fatalf("%s: %d of %d processes live on", what, len(left), len(pids))
		}
		time.Sleep(200 * time.Microsecond)
	}
}

// bar is how long what is left of a pod may live.
const bar = 100 * time.Millisecond

// lives are the times that processes lived on after something, by who they were.
type lives map[string]time.Duration

// check holds the middle one against the bar: on a machine with more to do than CPUs any one may have to wait for its turn.
func (l lives) check(t *testing.T, after string) {
	t.Helper()
	sorted := slices.Sorted(maps.Values(l))
	middle, most := sorted[(len(sorted)-1)/2], sorted[len(sorted)-1]
	t.Logf("processes lived on after %s for %v (p50), %v (most)", after, middle, most)
	if middle > bar || most > 5*bar {
		t.Errorf("processes lived on after %s for %v, more than %v", after, l, bar)
	}
}

// endedWithPause checks what podlet says of a pod whose pause was killed.
func (n *node) endedWithPause(v *victim) {
	n.t.Helper()
	var state cri.PodSandboxState
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		r, err := n.PodSandboxStatus(n.ctx(), &cri.PodSandboxStatusRequest{PodSandboxId: v.pod})
		if err != nil {
			n.t.Fatal(err)
		}
		if state = r.Status.State; state == cri.PodSandboxState_SANDBOX_NOTREADY {
			break
		}
	}
	if state != cri.PodSandboxState_SANDBOX_NOTREADY {
		n.t.Errorf("%s: the sandbox is %v", v.name, state)
	}
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
	took.check(t, "pause")
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
			if lived := gone(t, v.name, began, v.processes); v.hostPID {
				tookPodlet[fmt.Sprint(v.name, " ", signal)] = lived
			}
			n.endedWithPause(v)
		}
		all = append(all, victims...)
	}
	took.check(t, "pause, without podlet,")
	tookPodlet.check(t, "podlet's answer")
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
	var early []string
	var pids []int
	for i := range 3 {
		c := n.startIn(pod, sandbox, container(fmt.Sprint("early", i), "sh", "-c", fmt.Sprintf("sleep 0.3; exit %d", i)))
		early, pids = append(early, c), append(pids, n.seenContainer(c).PID)
	}
	podlet := n.cmd.Process.Pid
	if err := unix.Kill(podlet, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids { // reaped, so pause knows
		for unix.Kill(pid, 0) == nil {
			time.Sleep(time.Millisecond)
		}
	}
	// pause tells of an exit once it has read the output to its end, which it does on the same occasion.
	time.Sleep(10 * time.Millisecond)
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
	c := n.startIn(pod, sandbox, n.like(sandbox, container("app", "sh", "-c", "sleep 1000 & sleep 0.2; exit 7")))
	pid := n.seenContainer(c).PID
	for unix.Kill(pid, 0) == nil {
		time.Sleep(100 * time.Microsecond)
	}
	if _, err := n.StopPodSandbox(n.ctx(), &cri.StopPodSandboxRequest{PodSandboxId: pod}); err != nil {
		t.Fatal(err)
	}
	if s := n.status(c); s.ExitCode != 7 || s.State != cri.ContainerState_CONTAINER_EXITED {
		t.Errorf("a container that exited 7 just before its pod was stopped: %v", s)
	}
	n.emptied(mounts)
}
