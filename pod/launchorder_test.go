package pod

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"podlet/pause"
)

// TestNurseryOutlivesAFailedAdd: a pod whose network fails at once doesn't end the nursery that was started for it, which others wait for.
func TestNurseryOutlivesAFailedAdd(t *testing.T) {
	r := newRig(t)
	must(t, r.nursery.close())
	r.net.called(fails, func() {
		if _, err := r.RunPod(limited(t), r.sandbox("first")); !errors.Is(err, errFake) {
			t.Errorf("RunPod: %v", err)
		}
	})
	r.nursery.mu.Lock()
	defer r.nursery.mu.Unlock()
	if r.nursery.running == nil {
		t.Error("there is no nursery")
	}
}

// TestHungNurseryIsBlamed: where time is up for a launch that hangs, and so for the network that waits for it, the error is the launch's.
func TestHungNurseryIsBlamed(t *testing.T) {
	r := newRig(t)
	before := r.settled()
	n, err := r.getNursery(t.Context())
	must(t, err)
	must(t, pause.Signal(n.PIDFD, unix.SIGSTOP))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	// The nursery goes on as soon as the error is certain: taking back what it made takes it.
	defer context.AfterFunc(ctx, func() { pause.Signal(n.PIDFD, unix.SIGCONT) })()
	_, err = r.RunPod(ctx, r.sandbox("hung"))
	if !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "wait for the pod's network namespace") || !strings.Contains(err.Error(), "pause") && !strings.Contains(err.Error(), "is set up") {
		t.Errorf("RunPod: %v", err)
	}
	r.noTrace(t, before)
}
