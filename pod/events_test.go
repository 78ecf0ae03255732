package pod

import (
	"context"
	"errors"
	"testing"
)

// TestWatchFallsBehind: whoever doesn't read loses his watch, not an event in the middle; nobody waits for him, and others hear everything.
func TestWatchFallsBehind(t *testing.T) {
	var r Runtime
	slow, quick, gone := r.Watch(), r.Watch(), r.Watch()
	defer slow.Close()
	defer quick.Close()
	gone.Close()
	next := func(w *Watch) (*Event, error) { return w.Next(context.Background()) }
	for i := range maxEvents + 1 {
		r.events.tell(&Event{Type: EventType(i)})
		if e, err := next(quick); err != nil || e.Type != EventType(i) {
			t.Fatalf("event %d: %v, %v", i, e, err)
		}
	}
	for i := range maxEvents {
		if e, err := next(slow); err != nil || e.Type != EventType(i) {
			t.Fatalf("event %d: %v, %v", i, e, err)
		}
	}
	for range 2 {
		if e, err := next(slow); !errors.Is(err, ErrBehind) {
			t.Fatalf("after the lost event: %v, %v", e, err)
		}
	}
	if !r.events.heard() {
		t.Error("the other watch is gone")
	}
	quick.Close()
	if r.events.heard() {
		t.Error("a watch that was closed is still there")
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("why")
	cancel(why)
	if _, err := quick.Next(ctx); !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
}
