package pod

import (
	"context"
	"sync"
)

// flights lets a second request for a name that is just being created wait for the first one's result.
type flights struct {
	mu    sync.Mutex
	under map[string]*flight
}

type flight struct {
	done chan struct{}
	id   string
	err  error
}

// do calls create unless a call for the same key is under way; then it waits for that one. Where that one was cancelled by its
// own caller, the next in line creates.
func (f *flights) do(ctx context.Context, key string, create func() (string, error)) (string, error) {
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
			mine.id, mine.err = create()
			f.mu.Lock()
			delete(f.under, key)
			f.mu.Unlock()
			close(mine.done)
			return mine.id, mine.err
		}
		f.mu.Unlock()
		select {
		case <-first.done:
			if !cancelled(first.err) {
				return first.id, first.err
			}
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}
