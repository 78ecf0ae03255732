package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// groups are the directories of a container's cgroup, in whatever hierarchy.
func (n *node) groups(container string) []string {
	return append(glob("/sys/fs/cgroup/*/"+n.cgroup+"/"+container), glob("/sys/fs/cgroup/"+n.cgroup+"/"+container)...)
}

// TestBusyCgroup: a cgroup that can't be removed, because of a process that something put there, is removed as soon as it can be, by whichever
// podlet is there then. Cgroups that somebody made below it don't matter.
func TestBusyCgroup(t *testing.T) {
	if !private(t) {
		return
	}
	n := newNode(t)
	mounts := mountTable()
	sandbox := n.sandbox("busy", observed(true))
	pod := n.run(sandbox)
	c := n.startIn(pod, sandbox, container("app", "sleep", "1000"))
	for _, dir := range n.groups(c) {
		if err := os.MkdirAll(filepath.Join(dir, "a/b/c"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	intruder := exec.Command("sleep", "1000")
	if err := intruder.Start(); err != nil {
		t.Fatal(err)
	}
	defer intruder.Wait()
	defer intruder.Process.Kill()
	// In a v1 tree alone: where there is a v2 tree that is where podlet kills.
	procs := glob("/sys/fs/cgroup/*/" + n.cgroup + "/" + c + "/tasks")
	if len(procs) == 0 {
		t.Log("no v1 tree: no process can be where podlet doesn't kill it; nested cgroups alone are tested")
	} else if err := os.WriteFile(procs[0], []byte(fmt.Sprint(intruder.Process.Pid)), 0); err != nil {
		t.Fatal(err)
	}
	// It doesn't wait for the cgroup, which is busy for as long as this test wants.
	began := time.Now()
	if _, err := n.RemovePodSandbox(n.ctx(), &cri.RemovePodSandboxRequest{PodSandboxId: pod}); err != nil {
		t.Fatal(err)
	}
	t.Logf("removed in %v", time.Since(began))
	hidden := func(when string) {
		t.Helper()
		if l := n.lists(); len(l.pods)+len(l.containers) > 0 {
			t.Errorf("%s: a removed pod is listed: %v", when, l)
		}
		if len(procs) > 0 && len(n.groups(c)) == 0 {
			t.Errorf("%s: the cgroup is gone, though a process is in it", when)
		}
	}
	hidden("after the removal")
	// The name is free, and another pod in the same parent is not touched.
	again := n.run(sandbox)
	other := n.startIn(again, sandbox, container("app", "sleep", "1000"))
	n.kill()
	n.start()
	if _, err := n.RemovePodSandbox(n.ctx(), &cri.RemovePodSandboxRequest{PodSandboxId: again}); err != nil {
		t.Fatal(err)
	}
	hidden("after a restart")
	n.soon("the cgroup of another container is removed", func() bool { return len(n.groups(other)) == 0 })
	intruder.Process.Signal(unix.SIGKILL)
	began = time.Now()
	n.agree(mounts, intruder.Process.Pid)
	t.Logf("gone %v after it could be", time.Since(began))
	n.emptied(mounts)
}
