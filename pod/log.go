package pod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"podlet/internal/logfile"
	"podlet/pause"
)

const (
	// turnTime is how long the log writer may take to turn to the file of the rotation before.
	turnTime = 2 * time.Second
	// answerTime is how long podlet waits after ReopenLog has returned until it lets pause write to the new file: by then the caller has the answer, which
	// takes 0.2 ms, on a busy machine many times that.
	answerTime = 50 * time.Millisecond
	// followTime is how long podlet tries to have a container's log written where it belongs.
	followTime = 10 * time.Second
	// backTime is how long a kubelet that gave up may take to put the old file back in the new one's place.
	backTime = time.Second
	// twoStepVersion is the protocol's version from which on pause turns a log in two steps.
	twoStepVersion = 2
)

// logTurns are the rotations of a container's log, one at a time: a pause older than twoStepVersion answers only one of two requests for the same log.
type logTurns struct {
	// busy holds a token from the beginning of a rotation until pause has turned to the new file.
	busy chan struct{}
	// next holds a token where the next rotation waits for that.
	next chan struct{}
}

func newLogTurns() logTurns {
	return logTurns{busy: make(chan struct{}, 1), next: make(chan struct{}, 1)}
}

// begin waits for the rotation before. Whoever comes with another one has got the answer to that.
func (l *logTurns) begin(ctx context.Context) error {
	poke(l.next)
	select {
	case l.busy <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("wait for the reopening before: %w", ctx.Err())
	}
	select {
	case <-l.next:
	default:
	}
	return nil
}

func (l *logTurns) end() { <-l.busy }

// ReopenLog makes pause write the container's output from here on to the file that stands at its log path now, after the kubelet has
// renamed the one before. If that file can't be had the old one is written on, and nothing is made.
//
// podlet may be killed at any moment, and a kubelet that gets no answer puts the old file back in the new one's place, which then has no name any
// more. So pause turns to the new file only when the answer is on its way: until then it reads nothing, for the old file is complete and the new one may be none.
func (r *Runtime) ReopenLog(ctx context.Context, id string) error {
	c, err := r.container(ctx, id)
	if err != nil {
		return err
	}
	if st := c.status.Load(); st.State != Running {
		return fmt.Errorf("reopen the log of container %s: it is %s, not running: %w", c.name(), st.State, ErrState)
	}
	if c.logPath() == "" {
		return fmt.Errorf("reopen the log of container %s: it has none: %w", c.name(), ErrState)
	}
	if err := c.reopenLog(ctx); err != nil {
		return fmt.Errorf("reopen the log of container %s: %w", c.name(), err)
	}
	return nil
}

func (c *Container) reopenLog(ctx context.Context) error {
	conn := c.pod.conn()
	if conn == nil {
		return errNoPause
	}
	if conn.Version() < twoStepVersion {
		return c.turnLog(ctx, conn)
	}
	if err := c.logs.begin(ctx); err != nil {
		return err
	}
	err := c.sendLog(ctx, conn.LogReady)
	if ctx.Err() != nil {
		// Nobody hears the answer, so the new file may be none: pause goes back to the old one by itself.
		c.logs.end()
		c.followLater()
		return errors.Join(err, ctx.Err())
	}
	if err != nil {
		c.logs.end()
		return err
	}
	c.pod.rt.work.Go(func() { c.finishTurn(conn) })
	return nil
}

// finishTurn is the second step, behind the answer.
func (c *Container) finishTurn(conn *pause.Conn) {
	select {
	case <-time.After(answerTime):
	case <-c.logs.next:
	case <-c.pod.rt.life.Done():
		c.logs.end()
		return // the next podlet sees to it
	}
	ctx, cancel := context.WithTimeout(c.pod.rt.life, followTime)
	defer cancel()
	err := conn.LogTurn(ctx, pauseID(c.id))
	c.logs.end()
	if errors.Is(err, unix.ENOENT) {
		c.followLog()
	}
}

// turnLog makes pause turn to the file at the log path at once.
func (c *Container) turnLog(ctx context.Context, conn *pause.Conn) error {
	if err := c.logs.begin(ctx); err != nil {
		return err
	}
	defer c.logs.end()
	return c.sendLog(ctx, conn.Log)
}

// sendLog opens the log file and gives it to pause with the verb.
func (c *Container) sendLog(ctx context.Context, verb func(context.Context, pause.ID, *os.File) error) error {
	file, err := logfile.ReopenContext(ctx, c.pod.spec.LogDirectory, c.spec.LogPath)
	if err != nil {
		return err
	}
	defer file.Close()
	limit := time.Now().Add(turnTime)
	for {
		err = verb(ctx, pauseID(c.id), file.File)
		if !errors.Is(err, unix.EBUSY) || time.Now().After(limit) || ctx.Err() != nil {
			break
		}
		// The writer is still on its way to the file of the rotation before, behind a full ring.
		time.Sleep(5 * time.Millisecond)
	}
	if errors.Is(err, unix.ESRCH) {
		err = fmt.Errorf("it has ended meanwhile: %w: %w", ErrState, err)
	}
	var refused *pause.FailedError
	if errors.As(err, &refused) && isWaiting(ctx) {
		// On any other failure pause may be writing to it.
		err = errors.Join(err, file.Withdraw())
	}
	return err
}

// isWaiting says that the caller has not given up, nor is about to.
func isWaiting(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() == nil && (!ok || time.Until(deadline) > time.Second)
}

// followLater is followLog when a kubelet that gave up a rotation has decided which file stays.
func (c *Container) followLater() {
	c.pod.rt.work.Go(func() {
		select {
		case <-time.After(backTime):
			c.followLog()
		case <-c.pod.rt.life.Done():
		}
	})
}

// followLog turns the log of a container to its path, where it isn't known what an earlier podlet or pause made of a rotation. Where all is well it is the same file.
func (c *Container) followLog() {
	if c.logPath() == "" {
		return
	}
	c.pod.rt.work.Go(func() {
		ctx, cancel := context.WithTimeout(c.pod.rt.life, followTime)
		defer cancel()
		err := errNoPause
		if conn := c.pod.conn(); conn != nil {
			err = c.turnLog(ctx, conn)
		}
		if err != nil && c.pod.rt.life.Err() == nil && c.status.Load().State == Running {
			c.pod.rt.log.Warn("a container's log may be written to a file that is not at its path", "container", c.name(), "path", c.logPath(), "error", err)
		}
	})
}

// LogLoss is what a container wrote and its log never got, for want of space or because the disk failed.
type LogLoss struct {
	Lines uint64 `json:"logLinesLost,omitempty"`
	Bytes uint64 `json:"logBytesLost,omitempty"`
}

// ContainerLogLoss tells what the container's log has lost up to now; nil where pause doesn't say in time.
func (r *Runtime) ContainerLogLoss(ctx context.Context, id string) (*LogLoss, error) {
	c, err := r.container(ctx, id)
	if err != nil {
		return nil, err
	}
	c.pod.mu.Lock()
	state, loss := c.rec.State, c.rec.LogLoss
	c.pod.mu.Unlock()
	conn := c.pod.conn()
	if state != Running || conn == nil {
		return &loss, nil
	}
	ctx, cancel := context.WithTimeout(ctx, listenTime)
	defer cancel()
	states, err := conn.List(ctx)
	if err != nil {
		return nil, nil
	}
	for i := range states {
		if states[i].ID == pauseID(c.id) {
			loss = LogLoss{states[i].DroppedLines, states[i].DroppedBytes}
		}
		states[i].Close()
	}
	return &loss, nil
}
