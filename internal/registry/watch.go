package registry

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// watch sees whether a pull gets on. Progress is bytes that came or entries that were written, so that neither a slow network nor a layer of many small files
// looks like a standstill; an entry counts as the 512 bytes that it has in a tar at least.
type watch struct {
	progress atomic.Int64
	bytes    atomic.Int64 // of them, those that came
	// active are the downloads under way. While there are none, the pull waits for another's layer, and that one is watched itself.
	active atomic.Int64
}

const entryBytes = 512

func (w *watch) enter()      { w.active.Add(1) }
func (w *watch) leave()      { w.active.Add(-1) }
func (w *watch) add(n int64) { w.progress.Add(n); w.bytes.Add(n) }

// run cancels the pull once a whole window brought less than rate bytes a second. It ends with ctx.
func (w *watch) run(ctx context.Context, cancel context.CancelCauseFunc, window time.Duration, rate int64) {
	const ticks = 8
	tick := time.NewTicker(window / ticks)
	defer tick.Stop()
	want := int64(float64(rate) * window.Seconds())
	// past[i] is what the progress was i ticks ago; idle ticks begin anew.
	past := []int64{w.progress.Load()}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := w.progress.Load()
		if w.active.Load() == 0 {
			past = past[:0]
		}
		past = append([]int64{now}, past...)
		if len(past) <= ticks {
			continue
		}
		past = past[:ticks+1]
		if now-past[ticks] < max(want, 1) {
			cancel(fmt.Errorf("%w: %d bytes in %v, want %d", ErrStalled, now-past[ticks], window, max(want, 1)))
			return
		}
	}
}

// watchedReader counts what is read.
type watchedReader struct {
	r io.Reader
	w *watch
}

func (r *watchedReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.w.add(int64(n))
	return n, err
}
