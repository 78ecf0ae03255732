package pod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"podlet/cgroup"
	"podlet/pause"
	"podlet/pod/launch"
	"podlet/pod/tape"
)

// execDrain is how long output may still come after the command has ended: a child of it may hold the pipes for ever.
const execDrain = 100 * time.Millisecond

// ExecResult is what became of a command.
type ExecResult struct {
	Stdout, Stderr []byte
	ExitCode       int
}

// ExecSync runs a command in a running container and waits for its end. After timeout, if it isn't 0, or when ctx ends, everything
// the command started is killed, and the error is context.DeadlineExceeded or ctx's.
func (r *Runtime) ExecSync(ctx context.Context, id string, args []string, timeout time.Duration) (*ExecResult, error) {
	c, err := r.container(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := c.checkCommand(args); err != nil {
		return nil, err
	}
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout,
			fmt.Errorf("the command did not end within %s and was killed: %w", timeout, context.DeadlineExceeded))
		defer cancel()
	}
	result, err := c.execSync(ctx, args)
	if err != nil {
		return nil, fmt.Errorf("exec %q in container %s: %w", args[0], c.name(), c.orEnded(ctx, err))
	}
	return result, nil
}

func (c *Container) checkCommand(args []string) error {
	if len(args) == 0 || args[0] == "" {
		return fmt.Errorf("exec in container %s: no command: %w", c.name(), ErrInvalid)
	}
	return nil
}

// orEnded gives the reason why a command could not be started: any step of it may fail where the container ends just then.
func (c *Container) orEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, ErrState) || !c.endedBehind(ctx, err) {
		return err
	}
	return fmt.Errorf("the container has ended meanwhile: %w", ErrState)
}

// endedBehind says whether the container's end may be behind err.
func (c *Container) endedBehind(ctx context.Context, err error) bool {
	c.pod.mu.Lock()
	gone := c.pidfd == nil || ended(c.pidfd)
	c.pod.mu.Unlock()
	if gone {
		return true
	}
	// A first process that waits for the others of its PID namespace to end has not ended yet, but nobody can join its namespaces any more, or be forked there.
	return (errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOMEM)) && c.endsWithin(ctx, reportTime)
}

func (c *Container) execSync(ctx context.Context, args []string) (*ExecResult, error) {
	files := fds{}
	defer files.close()
	e, err := c.newExec(args, false, files)
	if err != nil {
		return nil, err
	}
	defer e.close()
	room := newAllowance(execOutputMost - 2*execOutputOwn)
	stdout, err := capture(files, launch.FDStdout, room)
	if err != nil {
		return nil, err
	}
	defer stdout.close()
	stderr, err := capture(files, launch.FDStderr, room)
	if err != nil {
		return nil, err
	}
	defer stderr.close()
	null, err := c.pod.rt.mounts.OpenNull()
	if err := files.add(launch.FDStdin, null, err); err != nil {
		return nil, err
	}
	if err := e.cloneAnywhere(ctx, files); err != nil {
		return nil, err
	}
	files.close()
	stdout.start()
	stderr.start()
	state, err := e.wait(ctx)
	if err != nil {
		return nil, err
	}
	if state.Errno != 0 {
		return nil, e.tape.Error(state.Step, int32(state.Errno))
	}
	deadline := time.Now().Add(execDrain)
	return &ExecResult{Stdout: stdout.until(deadline), Stderr: stderr.until(deadline), ExitCode: exitCode(state)}, nil
}

func exitCode(s pause.State) int {
	if s.Status.Signaled() {
		return 128 + int(s.Status.Signal())
	}
	return s.Status.ExitStatus()
}

// execution is one command in a container.
type execution struct {
	c     *Container
	id    string
	tape  *tape.Tape
	group *cgroup.ExecGroup // nil without a v2 tree
	ended chan pause.State
	pidfd *os.File
	// killed: all that the command started is about to end.
	killed bool
}

// newExec makes the command's own cgroup and its tape.
func (c *Container) newExec(args []string, tty bool, files fds) (*execution, error) {
	c.pod.mu.Lock()
	state, member := c.rec.State, c.pidfd
	var err error
	if state == Running && member != nil {
		files[launch.FDMember], err = duplicate(member)
	}
	c.pod.mu.Unlock()
	if state != Running || member == nil {
		return nil, fmt.Errorf("the container is %s, not running: %w", state, ErrState)
	}
	if err != nil {
		return nil, err
	}
	e := &execution{c: c, id: newID(), ended: make(chan pause.State, 1)}
	var cg launch.Cgroup
	err = c.withGroup(func(group *cgroup.Group) (err error) {
		if cg, err = joinFiles(group, files); err != nil {
			return err
		}
		return e.ownCgroup(group, files)
	})
	if err != nil {
		e.close()
		return nil, err
	}
	e.tape, err = (&launch.Exec{
		Name: c.name(), Process: c.processNow().Exec(args, tty), UserNS: c.pod.spec.UserNS != nil, Cgroup: cg, Machine: &c.pod.rt.machine,
	}).Tape()
	if err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

// execCgroup is the name of a command's cgroup.
func execCgroup(id string) string { return "exec-" + id[:16] }

// ownCgroup puts the command into a child cgroup, so that all it starts can be ended at once.
func (e *execution) ownCgroup(group *cgroup.Group, files fds) error {
	own, err := group.NewExec(execCgroup(e.id))
	if errors.Is(err, cgroup.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return err
	}
	e.group = own
	dir, err := detachedCgroup(own.Dir())
	return files.add(launch.FDCgroup2, dir, err)
}

// cloneAnywhere clones the command into its own cgroup. The kernel refuses that if the app has given controllers to cgroups of its own
// or made them threaded; then the command joins the app's first process where it is.
func (e *execution) cloneAnywhere(ctx context.Context, files fds) error {
	err := e.clone(ctx, files)
	if e.group == nil || !(errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EOPNOTSUPP)) {
		return err
	}
	e.dropGroup()
	group, err := e.c.presentCgroup()
	if err != nil {
		return err
	}
	defer group.Close()
	files[launch.FDCgroup2].Close()
	dir, err := detachedCgroup(group.V2Dir())
	if err := files.add(launch.FDCgroup2, dir, err); err != nil {
		return err
	}
	return e.clone(ctx, files)
}

func (e *execution) clone(ctx context.Context, files fds) error {
	wire, passed, err := files.pack(e.tape)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	p := e.c.pod
	id := pauseID(e.id)
	p.mu.Lock()
	conn := p.mu.conn
	if conn != nil {
		p.mu.execs[id] = e.ended
	}
	p.mu.Unlock()
	if conn == nil {
		return errNoPause
	}
	// A command whose caller goes now has to be known first: only then can all that it started be ended.
	longer, cancel := outlast(ctx, cloneTime)
	defer cancel()
	proc, err := conn.Clone(longer, pause.Clone{ID: id, Kind: pause.KindExec, Tape: wire, FDs: passed})
	if err != nil {
		p.mu.Lock()
		delete(p.mu.execs, id)
		p.mu.Unlock()
		return explainFailure(e.tape, err)
	}
	e.pidfd = proc.PIDFD
	return nil
}

// wait waits for the command's end; a command whose time is over is killed with all it started.
func (e *execution) wait(ctx context.Context) (pause.State, error) {
	select {
	case s, ok := <-e.ended:
		if !ok {
			return s, errNoPause
		}
		return s, nil
	case <-ctx.Done():
	}
	e.kill()
	timer := time.NewTimer(killTime)
	defer timer.Stop()
	select {
	case <-e.ended:
	case <-timer.C:
		e.c.pod.rt.log.Warn("an exec's process hangs in the kernel", "container", e.c.name())
	}
	return pause.State{}, context.Cause(ctx)
}

func (e *execution) kill() {
	e.killed = true
	var err error
	if e.group == nil {
		err = killTree(e.pidfd)
	} else {
		pause.Signal(e.pidfd, unix.SIGKILL)
		err = e.group.Kill()
	}
	if err != nil {
		e.c.pod.rt.log.Warn("can't kill all that an exec started", "container", e.c.name(), "error", err)
	}
}

// close removes the command's cgroup. A child that the command left behind keeps it; it goes with the container's.
func (e *execution) close() {
	if e.pidfd != nil {
		e.pidfd.Close()
	}
	if e.group != nil {
		e.dropGroup()
	}
}

// dropGroup removes the command's cgroup if nothing is in it. What was killed may take a moment to end, or hang in the kernel.
func (e *execution) dropGroup() {
	ctx, cancel := context.WithTimeout(context.Background(), reportTime)
	defer cancel()
	if !e.killed {
		cancel()
	}
	e.group.Remove(ctx)
	e.group.Close()
	e.group = nil
}
