package pod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"podlet/pause"
)

// stuckTime is how long a pause that was killed may take to end. A log writer that hangs on a dead disk keeps it from ending, and nothing else
// does that a pod could wait for: the kernel kills all others in the PID namespace at once.
const stuckTime = time.Second

// tearDown ends the pod's pause and takes back what belongs to the pod alone, and nothing of its containers. It is idempotent and asks
// pause nothing. What could not be taken back is tried again by the next call.
func (p *Pod) tearDown(ctx context.Context) error {
	select {
	case p.tearing <- struct{}{}:
		defer func() { <-p.tearing }()
	case <-ctx.Done():
		return fmt.Errorf("tear down pod %s: %w", p.name(), ctx.Err())
	}
	p.mu.Lock()
	pidfd, conn, half := p.mu.pidfd, p.mu.conn, p.mu.rec.State == PodCreating
	p.mu.Unlock()
	var err error
	if pidfd != nil {
		err = p.endPause(ctx, pidfd, conn)
	} else if half {
		err = huntSocket(p.id)
	}
	if err != nil {
		return fmt.Errorf("end pause of pod %s: %w", p.name(), err)
	}
	p.mu.Lock()
	for _, f := range []*os.File{p.mu.pidfd, p.mu.init} {
		if f != nil {
			f.Close()
		}
	}
	p.mu.pidfd, p.mu.conn, p.mu.init = nil, nil, nil
	p.mu.Unlock()
	return errors.Join(p.rt.netns.Unpin(p.id), os.RemoveAll(p.rt.socket(p.id)))
}

// endPause kills pause, hears what it said last and closes the connection.
func (p *Pod) endPause(ctx context.Context, pidfd *os.File, conn *pause.Conn) error {
	short, cancel := context.WithTimeout(ctx, stuckTime)
	defer cancel()
	err := end(short, pidfd)
	if err == nil && conn != nil {
		conn.Drain(short)
	}
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) && p.allDead(ctx) {
		p.rt.log.Warn("the log writer of a pod hangs on a disk that doesn't answer; it ends when that does", "pod", p.name(), "id", p.id)
		err = nil
	}
	if err == nil && conn != nil {
		conn.Close()
	}
	return err
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
