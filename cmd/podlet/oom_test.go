package main

import (
	"testing"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// small is a limit that what hoards memory exceeds at once.
func small(c *cri.ContainerConfig) {
	c.Image.Image = tools
	limits(&cri.LinuxContainerResources{MemoryLimitInBytes: 24 << 20, MemorySwapLimitInBytes: 24 << 20})(c)
}

// TestOOMKilled is the reason where the kernel killed the container's first process for want of memory, and there alone.
func TestOOMKilled(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	// Its children die and it lives on: busybox's shell says what became of them.
	const survivor = "trap 'exit 5' TERM; /bin/probe alloc 200; echo child $?; while :; do sleep 0.01; done"
	for _, c := range []struct {
		name   string
		args   []string
		end    func(id string)
		code   int32
		reason string
	}{
		{"first-process", []string{"/bin/probe", "alloc", "200"}, func(string) {}, 137, "OOMKilled"},
		{"child-then-term", []string{"sh", "-c", survivor}, func(id string) { n.stop(id, 20) }, 5, "Error"},
		{"child-then-kill", []string{"sh", "-c", survivor}, func(id string) { n.stop(id, 0) }, 137, "Error"},
		{"child-then-exit", []string{"sh", "-c", "/bin/probe alloc 200; echo child $?; exit 0"}, func(string) {}, 0, "Completed"},
		{"child-passed-on", []string{"sh", "-c", "/bin/probe alloc 200; c=$?; echo child $c; exit $c"}, func(string) {}, 137, "Error"},
		{"killed-from-outside", []string{"sleep", "1000"}, func(id string) { unix.Kill(n.seenContainer(id).PID, unix.SIGKILL) }, 137, "Error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := container(c.name, c.args...)
			small(config)
			id := p.start(config)
			if contains(c.name, "child") {
				n.says(id, "child 137")
			}
			c.end(id)
			if s := n.exited(id); s.ExitCode != c.code || s.Reason != c.reason {
				t.Errorf("%d %s %q, want %d %s", s.ExitCode, s.Reason, s.Message, c.code, c.reason)
			}
		})
	}
	// A command that is exec'd is no part of that either.
	config := container("exec", "sleep", "1000")
	small(config)
	id := p.start(config)
	if out, code := n.exec(id, "/bin/probe", "alloc", "200"); code != 137 {
		t.Errorf("an exec beyond the limit: %d %s", code, out)
	}
	n.stop(id, 0)
	if s := n.status(id); s.ExitCode != 137 || s.Reason != "Error" {
		t.Errorf("%v", s)
	}
}
