package pod

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"podlet/internal/mount"
	"podlet/pause"
	"podlet/pod/launch"
)

// hangupTime is how long a command whose client went has to end by itself: its terminal hangs up, its streams are closed.
const hangupTime = time.Second

// Running gives an error unless the container runs now.
func (r *Runtime) Running(ctx context.Context, id string) error {
	c, err := r.container(ctx, id)
	if err != nil {
		return err
	}
	if st := c.status.Load(); st.State != Running {
		return fmt.Errorf("container %s is %s, not running: %w", c.name(), st.State, ErrState)
	}
	return nil
}

// Exec runs a command in a running container with a client's streams, and returns its exit code when it has ended and the client has all that it
// wrote; output of children that outlive it is waited for as long as ExecSync does. When ctx ends the command loses its streams, and what is left of
// all it started hangupTime later is killed; the error is ctx's cause then. Nothing is held that a stop or another call waits for, however slow the client.
func (r *Runtime) Exec(ctx context.Context, id string, args []string, s *Streams) (code int, err error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	c, err := r.container(ctx, id)
	if err != nil {
		return 0, err
	}
	if err := c.checkCommand(args); err != nil {
		return 0, err
	}
	r.log.Info("exec", "container", c.name(), "id", c.id, "command", args[0], "tty", s.TTY)
	if code, err = c.exec(ctx, args, s); err != nil {
		return 0, fmt.Errorf("exec %q in container %s: %w", args[0], c.name(), c.orEnded(ctx, err))
	}
	return code, nil
}

func (c *Container) exec(ctx context.Context, args []string, s *Streams) (int, error) {
	files := fds{}
	defer files.close()
	e, err := c.newExec(args, s.TTY, files)
	if err != nil {
		return 0, err
	}
	defer e.close()
	ends := &execEnds{}
	defer ends.close()
	if s.TTY {
		err = ends.openTerminal(c, files)
	} else {
		err = ends.openPipes(c, files, s)
	}
	if err != nil {
		return 0, err
	}
	ends.follow(s.Resize)
	if err := e.cloneAnywhere(ctx, files); err != nil {
		return 0, err
	}
	// The command has its copies; podlet's would keep its streams open.
	files.close()
	ends.connect(s)
	state, err := e.waitStreams(ctx, ends)
	if err != nil {
		return 0, err
	}
	if state.Errno != 0 {
		return 0, e.tape.Error(state.Step, int32(state.Errno))
	}
	if err := ends.drain(ctx); err != nil {
		return 0, err
	}
	return exitCode(state), nil
}

// waitStreams waits for the command's end. Where ctx ends first the command loses its streams, and in the end its life.
func (e *execution) waitStreams(ctx context.Context, ends *execEnds) (pause.State, error) {
	select {
	case s, ok := <-e.ended:
		if !ok {
			return s, errNoPause
		}
		return s, nil
	case <-ctx.Done():
	}
	ends.hangUp()
	timer := time.NewTimer(hangupTime)
	defer timer.Stop()
	select {
	case <-e.ended:
		// What it left in the background goes too: nobody waits for it. The first process's number is not its own any more.
		if e.group != nil {
			e.kill()
		}
		return pause.State{}, context.Cause(ctx)
	case <-timer.C:
	}
	return e.wait(ctx)
}

// execEnds are podlet's ends of a command's streams.
type execEnds struct {
	stdin, stdout, stderr *os.File // nil for none
	terminal              *os.File // in place of all three
	in                    *inflow
	out                   []*outflow
	stop                  chan struct{} // ends the following of sizes, if there is any
	following             chan struct{}
}

// openPipes makes pipes for those streams that the client wants; the others are the null device.
func (x *execEnds) openPipes(c *Container, files fds, s *Streams) error {
	uid, gid := c.hostIdentity()
	for _, stream := range []struct {
		name   string
		wanted bool
		end    **os.File
	}{
		{launch.FDStdin, s.Stdin != nil, &x.stdin},
		{launch.FDStdout, s.Stdout != nil, &x.stdout},
		{launch.FDStderr, s.Stderr != nil, &x.stderr},
	} {
		if !stream.wanted {
			null, err := c.pod.rt.mounts.OpenNull()
			if err := files.add(stream.name, null, err); err != nil {
				return err
			}
			continue
		}
		read, write, err := pipe(uid, gid)
		if err != nil {
			return err
		}
		ours, theirs := read, write
		if stream.name == launch.FDStdin {
			ours, theirs = write, read
		}
		files[stream.name] = theirs
		if *stream.end, err = pollable(ours); err != nil {
			return err
		}
	}
	return nil
}

// openTerminal opens a terminal in the container's own /dev/pts.
func (x *execEnds) openTerminal(c *Container, files fds) error {
	pts, err := c.openDevPTS()
	if err := files.add(launch.FDDevPTS, pts, err); err != nil {
		return err
	}
	master, err := c.openTerminal(files)
	if err != nil {
		return err
	}
	x.terminal, err = pollable(master)
	return err
}

// openDevPTS opens the /dev/pts that the container's first process sees. Its path is the container's to change: what is there must be a devpts, and
// of such a file system nothing but its ptmx is ever opened.
func (c *Container) openDevPTS() (*os.File, error) {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	if c.pidfd == nil {
		return nil, fmt.Errorf("the container has ended: %w", ErrState)
	}
	pid, err := pause.PID(c.pidfd)
	if err != nil {
		return nil, err
	}
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the container's root: %w", err)
	}
	defer unix.Close(root)
	if ended(c.pidfd) {
		return nil, fmt.Errorf("the container has ended: %w", ErrState)
	}
	return mount.FindDevPTS(root)
}

// follow sets the terminal's size as the client's window changes.
func (x *execEnds) follow(sizes <-chan unix.Winsize) {
	if x.terminal == nil || sizes == nil {
		return
	}
	x.stop, x.following = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(x.following)
		follow(x.terminal, sizes, x.stop)
	}()
}

// connect begins to copy.
func (x *execEnds) connect(s *Streams) {
	switch {
	case x.terminal != nil:
		// A terminal's input has no end of its own: what the client sends last may be ^D.
		if s.Stdin != nil {
			x.in = newInflow(s.Stdin, x.terminal, func() {})
		}
		to := s.Stdout
		if to == nil {
			to = io.Discard
		}
		x.out = append(x.out, newOutflow(x.terminal, to))
	default:
		if x.stdin != nil {
			x.in = newInflow(s.Stdin, x.stdin, func() { x.stdin.Close() })
		}
		if x.stdout != nil {
			x.out = append(x.out, newOutflow(x.stdout, s.Stdout))
		}
		if x.stderr != nil {
			x.out = append(x.out, newOutflow(x.stderr, s.Stderr))
		}
	}
}

// drain waits until the client has all that the command wrote. A child that holds the streams is waited for as long as execDrain; a client is
// waited for until its session ends.
func (x *execEnds) drain(ctx context.Context) error {
	deadline := time.Now().Add(execDrain)
	for _, o := range x.out {
		o.from.SetReadDeadline(deadline)
	}
	for _, o := range x.out {
		select {
		case <-o.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// hangUp takes the command's streams away.
func (x *execEnds) hangUp() {
	for _, f := range []*os.File{x.stdin, x.stdout, x.stderr, x.terminal} {
		if f != nil {
			f.Close()
		}
	}
}

// close ends all copying. A client that doesn't read keeps it until its session's connection is closed.
func (x *execEnds) close() {
	if x.stop != nil {
		close(x.stop)
		<-x.following
	}
	x.hangUp()
	x.in.stop()
	for _, o := range x.out {
		<-o.done
	}
}
