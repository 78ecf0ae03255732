package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestPidsLimitOfOne: launching takes no process of the pod's own limit, so that a limit of 1 is enough for a program that starts no other.
func TestPidsLimitOfOne(t *testing.T) {
	n := hostileNode(t)
	name := n.cgroup + "-pids"
	parent := n.pidsParent(name)
	sandbox := n.sandbox("pids", func(c *cri.PodSandboxConfig) { c.Linux.CgroupParent = "/" + name })
	pod := n.run(sandbox)
	if err := os.WriteFile(filepath.Join(parent, "pids.max"), []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	id := n.startIn(pod, sandbox, container("app", "sleep", "1000"))
	if s := n.status(id); s.State != cri.ContainerState_CONTAINER_RUNNING {
		t.Errorf("%v", s)
	}
	if used, err := os.ReadFile(filepath.Join(parent, "pids.current")); err != nil || string(used) != "1\n" {
		t.Errorf("%s processes are counted, %v", used, err)
	}
	n.removePod(pod)
	// What forks is held to it.
	pod = n.run(sandbox)
	out, status := n.output(pod, sandbox, container("forks", "sh", "-c", "ls / ; echo unreached"))
	if status == 0 || !contains(out, "fork") {
		t.Errorf("a program that forks at a limit of 1: %d %q", status, out)
	}
	n.removePod(pod)
}

// pidsParent makes the pod's cgroup, as a kubelet does, in the tree that counts processes, and removes it in the end: a moment after the pod, as its log writer's
// cgroup goes when that has ended.
func (n *node) pidsParent(name string) string {
	n.t.Helper()
	top := "/sys/fs/cgroup/pids"
	if _, err := os.Stat(top); err != nil {
		top = "/sys/fs/cgroup"
		if err := os.WriteFile(top+"/cgroup.subtree_control", []byte("+pids"), 0); err != nil {
			n.t.Fatal(err)
		}
	}
	dir := filepath.Join(top, name)
	if err := os.Mkdir(dir, 0o755); err != nil && !os.IsExist(err) {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		n.soon("the pod's cgroup can be removed", func() bool {
			err := os.Remove(dir)
			return err == nil || errors.Is(err, fs.ErrNotExist)
		})
	})
	return dir
}

// TestSmallMemoryLimits: a container starts with 1 MiB; with less it starts or says why it doesn't.
func TestSmallMemoryLimits(t *testing.T) {
	n := hostileNode(t)
	sandbox := n.sandbox("memory")
	pod := n.run(sandbox)
	for kib := int64(256); kib <= 8192; kib *= 2 {
		c := container(fmt.Sprint("m", kib), "sh", "-c", "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes")
		c.Linux = &cri.LinuxContainerConfig{Resources: &cri.LinuxContainerResources{MemoryLimitInBytes: kib << 10}}
		id, err := n.createAndStart(pod, sandbox, c)
		if err != nil {
			t.Logf("%d KiB: %v", kib, err)
			if kib >= 1024 || !contains(err.Error(), "memory") {
				t.Errorf("%d KiB: the start says %v", kib, err)
			}
			continue
		}
		s := n.exited(id)
		t.Logf("%d KiB: exit code %d, %s, %s", kib, s.ExitCode, s.Reason, s.Message)
		if kib >= 1024 && s.ExitCode != 0 {
			t.Errorf("%d KiB: exit code %d, %s, %s", kib, s.ExitCode, s.Reason, s.Message)
		}
		if s.ExitCode == 0 && n.written(s) != fmt.Sprintln(kib<<10) {
			t.Errorf("%d KiB: the limit is %s", kib, n.written(s))
		}
		n.remove(id)
	}
	n.removePod(pod)
}
