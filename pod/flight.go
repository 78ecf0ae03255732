package pod

import (
	"context"
	"fmt"
	"sync"
)

// flights lets a second call with the same key, which names a creation or a start, wait for the first one's result.
type flights struct {
	mu    sync.Mutex
	under map[string]*flight
}

type flight struct {
	done chan struct{}
	id   string
	err  error
}

// do calls act unless a call for the same key is under way; then it waits for that one. Where that one was cancelled by its
// own caller, the next in line acts.
func (f *flights) do(ctx context.Context, key string, act func() (string, error)) (string, error) {
	for {
		f.mu.Lock()
		if f.under == nil {
			f.under = map[string]*flight{}
		}
		first, ok := f.under[key]
		if !ok {
			mine := &flight{done: make(chan struct{})}
			f.under[key] = mine
			f.mu.Unlock()
			return f.lead(key, mine, act)
		}
		f.mu.Unlock()
		select {
		case <-first.done:
			if !cancelled(first.err) {
				return first.id, first.err
			}
		case <-ctx.Done():
			return "", fmt.Errorf("wait for an earlier call, %s: %w", key, ctx.Err())
		}
	}
}

// lead calls act, and tells those that wait, whatever becomes of it: the key must be free even after a panic.
func (f *flights) lead(key string, mine *flight, act func() (string, error)) (string, error) {
	mine.err = fmt.Errorf("an earlier call broke off: %s", key)
	defer func() {
		f.mu.Lock()
		delete(f.under, key)
		f.mu.Unlock()
		close(mine.done)
	}()
	mine.id, mine.err = act()
	return mine.id, mine.err
}
