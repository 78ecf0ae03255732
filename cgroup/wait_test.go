package cgroup

import (
	"context"
	"testing"
	"time"
)

// A wait that has come to where only the kernel's event ends it.
func TestWaitEmptyByEvent(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		g := create(t, h, path(t, "event"), nil)
		start(t, g, "sleep")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- g.WaitEmpty(ctx) }()
		// Longer than it looks by itself; a slow machine makes the test weaker, not fail.
		time.Sleep(3 * lastLook)
		if err := g.Kill(ctx); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
