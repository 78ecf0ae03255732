package pod

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"podlet/pause"
	"podlet/pod/record"
)

// TestHalfMadePodIsTakenBackLater: what a failed creation could not take back is taken back by this very podlet, when it can be.
func TestHalfMadePodIsTakenBackLater(t *testing.T) {
	r := newRig(t)
	before := r.settled()
	var id string
	r.net.told(func(_ context.Context, p NetworkPod) error {
		id = p.ID
		return errFake
	}, fails, func() {
		if _, err := r.RunPod(limited(t), r.sandbox("half")); !errors.Is(err, errFake) {
			t.Errorf("RunPod: %v", err)
		}
	})
	r.awaitNoRecord(t, id)
	r.noTrace(t, before)
}

// TestHalfMadePodIsHunted: a pause that podlet's death caught before it had a title ends with the next podlet.
func TestHalfMadePodIsHunted(t *testing.T) {
	r := newRig(t)
	id := newID()
	must(t, r.records.Put(id, record.Pod, &podRecord{Spec: r.sandbox("half"), State: PodCreating, Created: time.Now()}))
	listen, err := pause.Listen(r.socket(id))
	must(t, err)
	holder := seemingPause(t, listen)
	listen.Close()
	r.again(t)
	r.awaitNoRecord(t, id)
	holder.Process.Signal(syscall.SIGTERM)
	holder.Wait()
	if status := holder.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		t.Errorf("the holder of the socket ended with %v", holder.ProcessState)
	}
}

func (r *rig) awaitNoRecord(t *testing.T, id string) {
	t.Helper()
	ctx := limited(t)
	for {
		if _, err := os.Stat(r.recordDir(id)); errors.Is(err, os.ErrNotExist) {
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("the record of half-made pod %s is there still", id)
		}
	}
}
