package pod

import (
	"context"
	"errors"
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
			return f.lead(key, mine, create)
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

// lead calls create, and tells those that wait, whatever becomes of it: the name must be free even after a panic.
func (f *flights) lead(key string, mine *flight, create func() (string, error)) (string, error) {
	mine.err = errors.New("the creation broke off")
	defer func() {
		f.mu.Lock()
		delete(f.under, key)
		f.mu.Unlock()
		close(mine.done)
	}()
	mine.id, mine.err = create()
	return mine.id, mine.err
}
