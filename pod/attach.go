package pod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"podlet/internal/streaming"
	"podlet/pause"
)

// tapTime is how long pause may take to answer what a client's coming and going asks of it.
const tapTime = 5 * time.Second

// Attach connects a client to the streams of a running container's first process, as of now, and returns when its output has ended or, for a client of
// stdin alone, when that has. The log goes on, and so does the app, whatever the client does: pause copies for it and ends the copy of a client that
// is too slow, which is an error here. When ctx ends the error is its cause.
//
// With ContainerConfig.stdin_once the end of a client that has stdin is stdin's: who comes later has none, and the process reads its end once those who
// were there before have gone too. podlet's own end, for which ctx's cause is streaming.ErrStopping, is no client's.
func (r *Runtime) Attach(ctx context.Context, id string, s *Streams) error {
	c, err := r.container(ctx, id)
	if err != nil {
		return err
	}
	r.log.Info("attach", "container", c.name(), "id", c.id, "stdin", s.Stdin != nil, "tty", s.TTY)
	if err := c.attach(ctx, s); err != nil {
		return fmt.Errorf("attach to container %s: %w", c.name(), err)
	}
	return nil
}

// MayAttach gives an error unless the container runs now and is, or isn't, on a terminal, as tty says.
func (r *Runtime) MayAttach(ctx context.Context, id string, tty bool) error {
	if err := r.Running(ctx, id); err != nil {
		return err
	}
	c, err := r.container(ctx, id)
	if err != nil {
		return err
	}
	if err := c.checkTTY(tty); err != nil {
		return fmt.Errorf("attach to container %s: %w", c.name(), err)
	}
	return nil
}

func (c *Container) checkTTY(tty bool) error {
	if tty != c.spec.TTY {
		return fmt.Errorf("tty is %v, and the container's is %v: %w", tty, c.spec.TTY, ErrInvalid)
	}
	return nil
}

func (c *Container) attach(ctx context.Context, s *Streams) error {
	if st := c.status.Load(); st.State != Running {
		return fmt.Errorf("it is %s, not running: %w", st.State, ErrState)
	}
	if err := c.checkTTY(s.TTY); err != nil {
		return err
	}
	conn := c.pod.conn()
	if conn == nil {
		return errNoPause
	}
	a := &attachment{c: c, conn: conn, once: s.Stdin != nil && c.spec.StdinOnce && !s.TTY}
	defer a.close(ctx)
	if err := a.tap(ctx, s); err != nil {
		return err
	}
	a.connect(ctx, s)
	return a.wait(ctx)
}

// attachment is one client of a container.
type attachment struct {
	c         *Container
	conn      *pause.Conn
	input     *os.File // nil for none
	once      bool     // its end is stdin's
	connected bool
	in        *inflow
	out       []*copied
	stop      chan struct{}
	following chan struct{}
}

// tap asks pause for the copies and the input.
func (a *attachment) tap(ctx context.Context, s *Streams) error {
	var write [2]*os.File
	for i, to := range []io.Writer{s.Stdout, s.Stderr} {
		if to == nil || i == 1 && s.TTY {
			continue
		}
		read, end, err := os.Pipe()
		if err != nil {
			return fmt.Errorf("make a pipe: %w", err)
		}
		defer end.Close()
		write[i] = end
		a.out = append(a.out, &copied{from: read, to: to, done: make(chan struct{})})
	}
	short, cancel := context.WithTimeout(ctx, tapTime)
	defer cancel()
	// A window's size is set at the terminal's master, which is its input too.
	input, err := a.conn.Tap(short, pauseID(a.c.id), write[0], write[1], s.Stdin != nil || s.TTY)
	if err != nil && ctx.Err() == nil {
		a.once = false // it was no client
	}
	switch {
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%d clients are attached already, and no more can be: %w", pause.MaxTaps, ErrState)
	case errors.Is(err, unix.ESRCH):
		return fmt.Errorf("it has ended: %w", ErrState)
	case err != nil:
		return err
	}
	a.input = input
	return nil
}

// connect begins to copy.
func (a *attachment) connect(ctx context.Context, s *Streams) {
	a.connected = true
	for _, o := range a.out {
		go o.run()
	}
	if s.Stdin != nil {
		to := io.Writer(io.Discard) // the container has no stdin, or not any more
		if a.input != nil {
			to = a.input
		}
		a.in = newInflow(s.Stdin, to, func() { a.endInput(ctx) })
	}
	if s.TTY && s.Resize != nil && a.input != nil {
		a.stop, a.following = make(chan struct{}), make(chan struct{})
		go func() {
			defer close(a.following)
			follow(a.input, s.Resize, a.stop)
		}()
	}
}

// endInput closes a stdin that ends with its first client's, unless it is podlet that ends: the app must not notice that, and the next podlet's clients go on.
func (a *attachment) endInput(ctx context.Context) {
	if !a.once || errors.Is(context.Cause(ctx), streaming.ErrStopping) {
		return
	}
	a.once = false
	if a.input != nil {
		a.input.Close()
	}
	short, cancel := context.WithTimeout(a.c.pod.rt.life, tapTime)
	defer cancel()
	err := a.conn.CloseStdin(short, pauseID(a.c.id))
	if err != nil && !errors.Is(err, unix.ESRCH) && a.conn.Err() == nil {
		a.c.pod.rt.log.Warn("can't close a container's stdin", "container", a.c.name(), "error", err)
	}
}

// wait waits for the end of what the client is there for.
func (a *attachment) wait(ctx context.Context) error {
	if len(a.out) == 0 {
		select {
		case <-a.in.done:
		case <-a.c.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		return nil
	}
	for _, o := range a.out {
		select {
		case <-o.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return a.verdict(ctx)
}

// verdict tells the client why its output ended, where that was not the container's doing.
func (a *attachment) verdict(ctx context.Context) error {
	behind := 0
	for _, o := range a.out {
		behind = max(behind, o.behind)
	}
	if behind < tapBehind || a.c.endsWithin(ctx, reportTime) {
		return context.Cause(ctx)
	}
	return fmt.Errorf("the client was too slow: %d KiB of output waited for it when its copy ended; the log has all", behind>>10)
}

// close takes the client away. pause hears of it by the pipes' end.
func (a *attachment) close(ctx context.Context) {
	if a.stop != nil {
		close(a.stop)
		<-a.following
	}
	for _, o := range a.out {
		o.from.Close()
	}
	if a.input != nil {
		a.input.Close() // ends a write that waits
	}
	a.in.stop()
	a.endInput(ctx)
	if a.connected {
		for _, o := range a.out {
			<-o.done
		}
	}
}

// tapBehind is how many bytes a client is behind whose copy pause ended for being full, at least: a copy may hold 1 MiB (tap.c), less where
// the kernel counts in pages.
const tapBehind = 256 << 10

// copied is one stream's copy.
type copied struct {
	from *os.File
	to   io.Writer
	done chan struct{}
	// behind is the most that waited in the pipe since it was empty last. It is the reader's until done.
	behind int
}

// run copies until pause ends the copy or the client is gone.
func (o *copied) run() {
	defer close(o.done)
	buffer := make([]byte, 32<<10)
	for {
		waiting := pending(o.from)
		n, err := o.from.Read(buffer)
		if err != nil {
			return
		}
		if waiting == 0 {
			o.behind = 0
		}
		o.behind = max(o.behind, waiting)
		if _, err := o.to.Write(buffer[:n]); err != nil {
			o.from.Close()
			return
		}
	}
}

// pending is how many bytes are in a pipe (pipe(7), FIONREAD).
func pending(pipe *os.File) (n int) {
	raw, err := pipe.SyscallConn()
	if err != nil {
		return 0
	}
	raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	return n
}
