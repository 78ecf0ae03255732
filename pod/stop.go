package pod

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"podlet/cgroup"
	"podlet/pause"
)

// killTime is how long killed processes may take to end before a stop gives up; what hangs in the kernel takes longer.
const killTime = 10 * time.Second

// reportTime is how long pause may take to report the end of a process that has ended. It does within some 50 ms, whatever the log's disk does.
const reportTime = time.Second

// StopContainer asks the container to end by its stop signal, and after grace kills all that is in it. It returns when the
// container has ended. A container that doesn't run is success; the error of one that won't end says what it waited for.
func (r *Runtime) StopContainer(ctx context.Context, id string, grace time.Duration) error {
	c, err := r.container(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := c.stop(ctx, grace); err != nil {
		return fmt.Errorf("stop container %s: %w", c.name(), err)
	}
	return nil
}

func (c *Container) stop(ctx context.Context, grace time.Duration) error {
	state, err := c.settledState(ctx)
	if err != nil || state != Running {
		return err
	}
	if grace > 0 {
		c.signal(c.status.Load().StopSignal)
		if c.endsWithin(ctx, grace) {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return c.killAll(ctx)
}

// settledState waits for a start that is under way, and gives the state after it.
func (c *Container) settledState(ctx context.Context) (ContainerState, error) {
	c.pod.mu.Lock()
	state := c.rec.State
	c.pod.mu.Unlock()
	if state != Starting {
		return state, nil
	}
	if err := c.startOver(ctx); err != nil {
		return state, err
	}
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	return c.rec.State, nil
}

// signal sends a signal to the container's first process; one that has ended needs none.
func (c *Container) signal(sig int) {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	if c.pidfd == nil {
		return
	}
	if err := pause.Signal(c.pidfd, unix.Signal(sig)); err != nil && !processGone(err) {
		c.pod.rt.log.Warn("can't signal a container", "container", c.name(), "signal", sig, "error", err)
	}
}

// endsWithin waits for the container's end.
func (c *Container) endsWithin(ctx context.Context, most time.Duration) bool {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-c.done:
		return true
	case <-timer.C:
		return false
	case <-ctx.Done():
		return false
	}
}

// killAll kills by PID 1's pidfd, with which its PID namespace dies, and by cgroup: the app may have moved processes out of
// the one, and may share the other. It waits for the end that pause reports; if pause can't, the kernel's word is enough.
func (c *Container) killAll(ctx context.Context) error {
	c.noteOOMKills()
	c.signal(int(unix.SIGKILL))
	c.killGroup()
	if err := c.dies(ctx); err != nil {
		return err
	}
	if !c.endsWithin(ctx, reportTime) {
		if err := ctx.Err(); err != nil {
			return err
		}
		c.killedWithPod("killed; pause did not report its end")
	}
	return nil
}

// dies waits until the container's first process, which was killed, has ended.
func (c *Container) dies(ctx context.Context) error {
	c.pod.mu.Lock()
	if c.pidfd == nil {
		c.pod.mu.Unlock()
		return nil
	}
	pidfd, err := duplicate(c.pidfd)
	c.pod.mu.Unlock()
	if err != nil {
		return err
	}
	defer pidfd.Close()
	short, cancel := context.WithTimeout(ctx, killTime)
	defer cancel()
	err = pause.Exited(short, pidfd)
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("its process has not ended %s after SIGKILL: it hangs in the kernel, most often in I/O on a dead disk or network file system: %w",
			killTime, err)
	}
	return err
}

func (c *Container) killGroup() {
	ctx, cancel := context.WithTimeout(context.Background(), killTime)
	defer cancel()
	if err := c.withGroup(func(group *cgroup.Group) error { return group.Kill(ctx) }); err != nil {
		c.pod.rt.log.Warn("can't kill a container's cgroup", "container", c.name(), "error", err)
	}
}

// noteOOMKills notes how many processes were killed for want of memory: as long as the first one lives it was none of them, and its end
// by podlet's SIGKILL must not be taken for one.
func (c *Container) noteOOMKills() {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	if c.group == nil || c.pidfd == nil || ended(c.pidfd) {
		return
	}
	kills, err := c.group.OOMKills()
	if err != nil {
		c.pod.rt.log.Warn("can't read how many processes were killed for want of memory", "container", c.name(), "error", err)
		return
	}
	c.rec.OOMKills = kills
}
