package pod

import (
	"slices"
	"testing"
	"time"

	"podlet/pause"
	"podlet/pod/spec"
)

// chargeLogger has a pod write its first output, and waits until its log writers have their cgroup, which stays as long as the pod does.
func (r *rig) chargeLogger(t *testing.T, podID string) {
	t.Helper()
	p, err := r.pod(limited(t), podID)
	must(t, err)
	writes := r.startIn(t, podID, r.container("writes", func(c *spec.Container) { c.Command = []string{"echo", "hello"} }))
	pidfd, err := p.pidfd()
	must(t, err)
	defer pidfd.Close()
	pid, err := pause.PID(pidfd)
	must(t, err)
	ctx := limited(t)
	charged := func() bool {
		s, err := r.ContainerStatus(ctx, writes)
		must(t, err)
		// The v2 cgroup's directory is a mount of its own.
		return s.State == Exited && slices.Contains(openFiles(pid), "/")
	}
	for !charged() {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			t.Fatal("pause has no cgroup for the pod's log writer")
		}
	}
}
