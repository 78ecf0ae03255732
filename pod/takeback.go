package pod

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"podlet/pause"
)

// cloneTime is how much longer than its caller podlet waits for the answer to a clone. Pause answers within milliseconds, and a process whose
// pidfd is known can be ended and seen to end.
const cloneTime = 2 * time.Second

// outlast gives a context with ctx's values that ends `by` after ctx, with its cause.
func outlast(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(by, func() { cancel(context.Cause(ctx)) })
	})
	return longer, func() {
		stop()
		cancel(context.Canceled)
	}
}

// takeBack undoes a start whose caller went away: nobody was told of it, and the same call may come again. It gives false where the container
// has ended meanwhile, or where it can't be undone.
func (c *Container) takeBack() bool {
	ctx, cancel := context.WithTimeout(context.Background(), undoTime)
	defer cancel()
	if !c.endLaunch(ctx) {
		return false
	}
	undone, err := c.undoStart(ctx)
	if err != nil {
		c.pod.rt.log.Warn("can't take back the start of a container", "container", c.name(), "error", err)
	}
	return undone
}

// undoStart takes back what a start has made whose process has ended, and what its record says. It gives false where the container has ended meanwhile.
func (c *Container) undoStart(ctx context.Context) (undone bool, err error) {
	if err := c.clearGroup(ctx); err != nil {
		return false, err
	}
	// A volatile overlay leaves a mark in there, so that no second mount takes what the first may have left half-written.
	work := c.pod.rt.overlayWork(c.id)
	if err := os.RemoveAll(work); err != nil {
		return false, err
	}
	if err := os.Mkdir(work, 0o755); err != nil {
		return false, err
	}
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	if c.rec.State != Starting && c.rec.State != Running {
		return false, nil
	}
	c.failed = nil
	err = c.saveLocked(func(rec *containerRecord) {
		rec.State, rec.Started, rec.Cgroup, rec.Made = Created, time.Time{}, "", nil
	})
	return err == nil, err
}

// endLaunch kills the process of a start and waits for its end, which is nobody's news.
func (c *Container) endLaunch(ctx context.Context) bool {
	c.pod.mu.Lock()
	if c.rec.State != Starting && c.rec.State != Running {
		c.pod.mu.Unlock()
		return false
	}
	if c.pidfd == nil {
		c.pod.mu.Unlock()
		return true
	}
	gone := make(chan struct{})
	c.takenBack = gone
	err := pause.Signal(c.pidfd, unix.SIGKILL)
	c.pod.mu.Unlock()
	if err != nil && !processGone(err) {
		return false
	}
	select {
	case <-gone:
		return true
	case <-c.done: // its pod ended
		return false
	case <-ctx.Done():
		return false
	}
}
