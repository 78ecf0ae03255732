package main

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestRestart: SIGTERM ends podlet and no pod; the next podlet knows all, serves all and has the exits of the time between.
func TestRestart(t *testing.T) {
	n := newNode(t)
	p := n.newPod(labelled("app", "web"))
	stopped := n.newPod()
	if _, err := n.StopPodSandbox(n.ctx(), &cri.StopPodSandboxRequest{PodSandboxId: stopped.id}); err != nil {
		t.Fatal(err)
	}
	running := p.start(container("running", "sh", "-c", "trap 'exit 6' TERM; echo one; while :; do sleep 0.01; done"))
	ending := p.start(container("ending", "sh", "-c", "while ! [ -e /dev/shm/end ]; do sleep 0.01; done; exit 9"))
	exited := p.start(container("exited", "sh", "-c", "exit 4"))
	created := p.create(container("created", "sh", "-c", "exit 2"))
	failed := p.create(container("failed", "/no/such"))
	if err := n.tryStart(failed); err == nil {
		t.Fatal("what is not there was started")
	}
	n.says(running, "one") // it heeds SIGTERM
	n.exited(exited)
	before := map[string]*cri.ContainerStatus{}
	for _, id := range []string{running, exited, created, failed} {
		before[id] = n.status(id)
	}
	was := n.seenContainer(running)
	shm := fmt.Sprintf("/proc/%d/root/dev/shm/end", was.PID)
	n.terminate()
	if err := unix.Kill(was.PID, 0); err != nil {
		t.Fatalf("a container after podlet's end: %v", err)
	}
	fd, err := unix.Open(shm, unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	n.start()
	for id, s := range before {
		if now := n.status(id); now.String() != s.String() {
			t.Errorf("after the restart: %v\nbefore: %v", now, s)
		}
	}
	if now := n.seenContainer(running); now.PID != was.PID || same(now.Namespaces, was.Namespaces) != "cgroup ipc mnt net pid user uts" {
		t.Errorf("%v, was %v", now, was)
	}
	if s := n.exited(ending); s.ExitCode != 9 || s.Reason != "Error" {
		t.Errorf("what ended meanwhile: %v", s)
	}
	if r, err := n.ListPodSandbox(n.ctx(), &cri.ListPodSandboxRequest{Filter: &cri.PodSandboxFilter{State: &cri.PodSandboxStateValue{}}}); err != nil || len(r.Items) != 1 || r.Items[0].Id != p.id {
		t.Errorf("ready pods: %v, %v", r, err)
	}
	if out, code := n.exec(running, "echo", "hello"); code != 0 || out != "hello\n" {
		t.Errorf("exec: %d %q", code, out)
	}
	if err := n.tryStart(created); err != nil {
		t.Errorf("start of what was created before: %v", err)
	}
	if s := n.exited(created); s.ExitCode != 2 {
		t.Errorf("%v", s)
	}
	n.stop(running, 20)
	if s := n.status(running); s.ExitCode != 6 {
		t.Errorf("%v", s)
	}
	n.stop(p.start(container("new", "sleep", "1000")), 0)
}
