package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	_ "unsafe" // for linkname

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// patience is how long a podlet waits, when it comes, for a pause that doesn't answer, where it isn't to be what it is by default.
const patience = "PODLET_TEST_PATIENCE"

// recoverTime is package pod's seam.
//
//go:linkname recoverTime podlet/pod.recoverTime
var recoverTime time.Duration

func init() {
	if most, err := time.ParseDuration(os.Getenv(patience)); err == nil && os.Getenv(asPodlet) != "" {
		recoverTime = most
	}
}

// startPatient starts a podlet that never takes a pod for lost whose pause doesn't answer.
func (n *node) startPatient() {
	n.t.Helper()
	os.Setenv(patience, "1h")
	defer os.Unsetenv(patience)
	n.start()
}

// TestTerminated: SIGTERM leaves pods running, and the next podlet has them as they were.
func TestTerminated(t *testing.T) {
	if !private(t) {
		return
	}
	n := newNode(t)
	mounts := mountTable()
	all := n.victims("")
	n.terminate()
	for _, v := range all {
		if got := alive(append(v.processes, v.pause)); len(got) != len(v.processes)+1 {
			t.Errorf("%s: of %d processes %d live after SIGTERM", v.name, len(v.processes)+1, len(got))
		}
	}
	n.start()
	n.agree(mounts)
	for _, v := range all {
		if pid := n.seenPod(v.pod).PID; pid != v.pause {
			t.Errorf("%s: pause was process %d and is %d", v.name, v.pause, pid)
		}
		for _, c := range v.containers {
			if s := n.status(c); s.State != cri.ContainerState_CONTAINER_RUNNING {
				t.Errorf("%s: %v", v.name, s)
			}
			if out, code := n.exec(c, "echo", "on"); out != "on\n" || code != 0 {
				t.Errorf("%s: exec %q, %d", v.name, out, code)
			}
		}
	}
	n.emptied(mounts)
}

// TestTerminatedWhileRecovering: a podlet that is told to end before a pod has answered makes no judgement of that pod.
func TestTerminatedWhileRecovering(t *testing.T) {
	if !private(t) {
		return
	}
	n := newNode(t)
	mounts := mountTable()
	sandbox := n.sandbox("slow", observed(true))
	pod := n.run(sandbox)
	c := n.startIn(pod, sandbox, container("app", "sleep", "1000"))
	pause := n.seenPod(pod).PID
	n.kill()
	if err := unix.Kill(pause, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	n.startPatient()
	n.terminate()
	unix.Kill(pause, unix.SIGCONT)
	n.start()
	n.agree(mounts)
	if s := n.status(c); s.State != cri.ContainerState_CONTAINER_RUNNING {
		t.Errorf("the container of a pod that was slow to answer: %v", s)
	}
	n.emptied(mounts)
}

// removeCgroups removes the cgroups of all pods. Processes that have just ended may hold them for a moment.
func (n *node) removeCgroups() {
	n.t.Helper()
	for deadline := time.Now().Add(hangTime); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		dirs := append(glob("/sys/fs/cgroup/*/"+n.cgroup), glob("/sys/fs/cgroup/"+n.cgroup)...)
		if len(dirs) == 0 {
			return
		}
		for _, dir := range dirs {
			for _, below := range append(glob(dir+"/podlet-logger-*"), glob(dir+"/"+strings.Repeat("[0-9a-f]", 64))...) {
				os.Remove(below)
			}
			os.Remove(dir)
		}
	}
	n.t.Fatal("cgroups can't be removed")
}

// reboot does what a reboot does to a node of which podlet has gone: all processes, cgroups, mounts and what is in /run are gone, and the boot has another id.
func (n *node) reboot(id string) {
	n.t.Helper()
	for deadline := time.Now().Add(hangTime); ; time.Sleep(time.Millisecond) {
		s := n.observe()
		if len(s.pauses)+len(s.containers) == 0 {
			break
		}
		for _, pid := range s.pauses {
			unix.Kill(pid, unix.SIGKILL)
		}
		for _, pids := range s.containers {
			for _, pid := range pids {
				unix.Kill(pid, unix.SIGKILL)
			}
		}
		if time.Now().After(deadline) {
			n.t.Fatal("processes don't end")
		}
	}
	for _, name := range names("/run/netns") {
		unix.Unmount("/run/netns/"+name, unix.MNT_DETACH)
		os.Remove("/run/netns/" + name)
	}
	os.RemoveAll(n.dir + "/state")
	n.removeCgroups()
	file := filepath.Join(n.t.TempDir(), "boot_id")
	if err := os.WriteFile(file, []byte(id+"\n"), 0o444); err != nil {
		n.t.Fatal(err)
	}
	if err := unix.Mount(file, "/proc/sys/kernel/random/boot_id", "", unix.MS_BIND, ""); err != nil {
		n.t.Fatal(err)
	}
}

// TestRebooted: after a reboot no sandbox is ready and every container has ended, also those that had never run.
func TestRebooted(t *testing.T) {
	if !private(t) {
		return
	}
	n := newNode(t)
	sandbox := n.sandbox("before", observed(true))
	pod := n.run(sandbox)
	empty := n.run(n.sandbox("empty"))
	stopped := n.run(n.sandbox("stopped"))
	if _, err := n.StopPodSandbox(n.ctx(), &cri.StopPodSandboxRequest{PodSandboxId: stopped}); err != nil {
		t.Fatal(err)
	}
	running := n.startIn(pod, sandbox, container("running", "sleep", "1000"))
	ended := n.startIn(pod, sandbox, container("ended", "sh", "-c", "exit 6"))
	n.exited(ended)
	r, err := n.CreateContainer(n.ctx(), &cri.CreateContainerRequest{PodSandboxId: pod, Config: container("created", "true"), SandboxConfig: sandbox})
	if err != nil {
		t.Fatal(err)
	}
	created := r.ContainerId
	n.kill()
	n.reboot("00000000-0000-4000-8000-000000000001")
	mounts := mountTable()
	var first map[string]int64
	for range 2 { // the second time podlet alone is restarted
		n.start()
		l := n.agree(mounts)
		for _, id := range []string{pod, empty, stopped} {
			if p := l.pods[id]; p == nil || p.State != cri.PodSandboxState_SANDBOX_NOTREADY {
				t.Errorf("after a reboot: %v", p)
			}
		}
		finished := map[string]int64{}
		for _, c := range []struct {
			id, reason string
			code       int32
		}{{running, "NodeRebooted", 255}, {created, "NodeRebooted", 255}, {ended, "Error", 6}} {
			s := n.status(c.id)
			if s.State != cri.ContainerState_CONTAINER_EXITED || s.ExitCode != c.code || s.Reason != c.reason || s.FinishedAt == 0 {
				t.Errorf("after a reboot, want exit code %d, %s: %v", c.code, c.reason, s)
			}
			finished[c.id] = s.FinishedAt
		}
		for id, at := range first {
			if finished[id] != at {
				t.Errorf("container %.8s finished at %d, and after another restart at %d", id, at, finished[id])
			}
		}
		first = finished
		n.kill()
	}
	n.start()
	// The names are free, and the new pod is as good as any.
	for _, id := range []string{pod, empty, stopped} {
		if _, err := n.RemovePodSandbox(n.ctx(), &cri.RemovePodSandboxRequest{PodSandboxId: id}); err != nil {
			t.Error(err)
		}
	}
	again := n.run(sandbox)
	if out, _ := n.exec(n.startIn(again, sandbox, container("running", "sleep", "1000")), "echo", "up"); out != "up\n" {
		t.Errorf("exec in a pod after the reboot: %q", out)
	}
	n.emptied(mounts)
}
