package pod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"podlet/pause"
)

// stuckTime is how long a pause that was killed takes to end at most, as a rule. What keeps it longer is a process in its PID namespace that has much
// to give back, or hangs in the kernel.
const stuckTime = 300 * time.Millisecond

// tearDown ends the pod's pause and takes back what belongs to the pod alone, and nothing of its containers. It is idempotent and asks
// pause nothing. What could not be taken back is tried again by the next call.
func (p *Pod) tearDown(ctx context.Context) error {
	return p.tear(ctx, func() error {
		left, err := p.endProcesses(ctx)
		if err != nil {
			return err
		}
		if err := p.leaveNetwork(ctx); err != nil {
			return errors.Join(left, err)
		}
		if err := p.rt.netns.Unpin(p.id); err != nil {
			// As long as the namespace lives, it answers to its addresses.
			return errors.Join(left, err)
		}
		return errors.Join(left, p.removeFromNetwork(ctx))
	})
}

// tearButNetwork is tearDown for a pod that ended without being asked to. Its network namespace and all that it has of its Network stay until somebody stops
// or removes it: nobody else gets its addresses while the kubelet takes it for the one that has them.
func (p *Pod) tearButNetwork(ctx context.Context) error {
	return p.tear(ctx, func() error {
		left, err := p.endProcesses(ctx)
		return errors.Join(left, err)
	})
}

// tear has one caller at a time tear the pod down.
func (p *Pod) tear(ctx context.Context, do func() error) error {
	select {
	case p.tearing <- struct{}{}:
		defer func() { <-p.tearing }()
	case <-ctx.Done():
		return fmt.Errorf("wait for a tear-down that is under way: %w", ctx.Err())
	}
	return do()
}

// endProcesses ends pause and with it all that runs in the pod. left says what of it could not be removed, which is in nobody's way.
func (p *Pod) endProcesses(ctx context.Context) (left, err error) {
	p.mu.Lock()
	pidfd, conn, half := p.mu.pidfd, p.mu.conn, p.mu.rec.State == PodCreating
	p.mu.Unlock()
	if pidfd != nil {
		err = p.endPause(ctx, pidfd, conn)
	} else if half {
		err = huntSocket(ctx, p.rt.socket(p.id))
	}
	if err != nil {
		return nil, fmt.Errorf("end pause: %w", err)
	}
	p.mu.Lock()
	for _, f := range []*os.File{p.mu.pidfd, p.mu.init} {
		if f != nil {
			f.Close()
		}
	}
	p.mu.pidfd, p.mu.conn, p.mu.init = nil, nil, nil
	p.mu.Unlock()
	p.meters.end()
	if p.hasLogger() {
		p.rt.janitor.clearLogger(p)
	}
	return os.RemoveAll(p.rt.socket(p.id)), nil
}

// endPause kills pause, hears what it said last and closes the connection. The one process that need not have ended then is the log writer: it may
// hang on a disk, and nothing depends on it any more.
func (p *Pod) endPause(ctx context.Context, pidfd *os.File, conn *pause.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, killTime)
	defer cancel()
	writerLives := p.spec.HostPID // or may, as it is in no guard
	for {
		err := endWithin(ctx, stuckTime, pidfd)
		if err == nil {
			break
		}
		if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		if p.allDead(ctx) {
			p.rt.log.Warn("the log writer of a pod hangs on a disk that doesn't answer; it ends when that does", "pod", p.name(), "id", p.id)
			writerLives = true
			break
		}
	}
	if conn == nil {
		return nil
	}
	// The connection's end is sure to come, and soon, unless a log writer that is still there has it open, too.
	if writerLives {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, listenTime)
		defer cancel()
	}
	conn.Drain(ctx)
	conn.Close()
	return nil
}

func endWithin(ctx context.Context, most time.Duration, pidfd *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	return end(ctx, pidfd)
}

// allDead says whether the processes of all containers have ended.
func (p *Pod) allDead(ctx context.Context) bool {
	p.mu.Lock()
	containers := p.containersLocked()
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, promptly)
	defer cancel()
	for _, c := range containers {
		if c.awaitEmpty(ctx) != nil {
			return false
		}
	}
	return true
}
