package pod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"podlet/cgroup"
	"podlet/internal/logfile"
	"podlet/pause"
	"podlet/pod/launch"
	"podlet/pod/spec"
	"podlet/pod/tape"
)

// StartContainer starts a created container and returns when its program runs. A launch that fails leaves the container exited,
// with the step that failed as its message.
func (r *Runtime) StartContainer(ctx context.Context, id string) error {
	c, err := r.container(ctx, id)
	if err != nil {
		return err
	}
	// A second call while the first is being taken back waits for that.
	_, err = r.flights.do(ctx, "start "+c.id, func() (string, error) { return id, c.startOnce(ctx) })
	if err != nil {
		return fmt.Errorf("start container %s: %w", c.name(), err)
	}
	return nil
}

func (c *Container) startOnce(ctx context.Context) error {
	if err := c.begin(); err != nil {
		return err
	}
	defer c.startEnded()
	return c.start(ctx)
}

// begin records the intent, with the parents that the cgroup is going to get: podlet may be killed between making them and writing that down.
func (c *Container) begin() error {
	path, err := c.groupPath()
	if err != nil {
		return err
	}
	c.pod.rt.parents.use(path.Parent(), c.pod.rt.cgroups.Missing(path))
	if err := c.beginAt(path); err != nil {
		return errors.Join(err, c.pod.rt.leaveParent(path.Parent()))
	}
	return nil
}

// groupPath is where the container's cgroup is going to be.
func (c *Container) groupPath() (cgroup.Path, error) {
	parent, err := cgroup.ParsePath(c.pod.spec.CgroupParent)
	if err != nil {
		return cgroup.Path{}, err
	}
	return parent.Child(c.id)
}

func (c *Container) beginAt(path cgroup.Path) error {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	if c.pod.mu.rec.State != PodReady {
		return fmt.Errorf("its pod is not ready: %w", ErrState)
	}
	if c.rec.State != Created {
		return fmt.Errorf("it is %s, not created: %w", c.rec.State, ErrState)
	}
	made := c.pod.rt.parents.known(path.Parent())
	err := c.saveLocked(func(rec *containerRecord) { rec.State, rec.Cgroup, rec.Made = Starting, path.String(), made })
	if err == nil {
		c.starting = make(chan struct{})
	}
	return err
}

// startEnded lets those go on who waited for the start's end.
func (c *Container) startEnded() {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	c.playing = nil
	close(c.starting)
	c.starting = nil
}

func (c *Container) start(ctx context.Context) error {
	files := fds{}
	gate, err := newGate(files)
	if err != nil {
		c.cannotRun(err)
		return err
	}
	// Open until a start that failed is taken back: the process must not end by itself before that.
	defer gate.Close()
	err = c.launch(ctx, files, gate)
	files.close()
	if err != nil && !(ctx.Err() != nil && c.takeBack()) {
		c.cannotRun(err)
	}
	return err
}

// cannotRun records a failed start, if the end of the process hasn't been recorded already.
func (c *Container) cannotRun(cause error) {
	c.pod.mu.Lock()
	if c.rec.State != Starting && c.rec.State != Running {
		c.pod.mu.Unlock()
		return
	}
	c.endLocked(ending{at: time.Now(), code: exitCannotRun, reason: reasonCannotRun, message: cause.Error()})
	c.pod.mu.Unlock()
	c.pod.rt.janitor.clear(c)
}

// launch makes what the tape needs, has pause play it, and opens the gate once the record says that the container runs.
func (c *Container) launch(ctx context.Context, files fds, gate *os.File) error {
	cg, err := c.makeCgroup(ctx, files)
	if err != nil {
		return err
	}
	volumes, err := c.rootFiles(files)
	if err != nil {
		return err
	}
	c.pod.mu.Lock()
	image := c.rec.Image // the pod's end may write the record meanwhile
	c.pod.mu.Unlock()
	imageVolumes, err := spec.ImageVolumes(c.spec, image, &c.pod.rt.machine)
	if err != nil {
		return err
	}
	t, err := launch.NewContainer(c.pod.spec, c.spec, c.processNow(), &c.pod.rt.machine, cg, volumes, imageVolumes).Tape()
	if err != nil {
		return err
	}
	streams, err := c.openStdio(ctx, files)
	if err != nil {
		return err
	}
	defer streams.close()
	c.pod.mu.Lock()
	c.playing = t
	c.pod.mu.Unlock()
	wire, passed, err := files.pack(t)
	if err != nil {
		return err
	}
	conn := c.pod.conn()
	if conn == nil {
		return errNoPause
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	longer, cancel := outlast(ctx, cloneTime)
	defer cancel()
	proc, err := conn.Clone(longer, pause.Clone{
		ID: pauseID(c.id), Kind: pause.KindExec, Tape: wire, FDs: passed,
		Stdout: streams.stdout, Stderr: streams.stderr, Stdin: streams.stdin, Log: streams.log,
		TTY: c.spec.TTY,
	})
	if err != nil {
		return c.launchFailed(explainFailure(t, err))
	}
	if err := c.runs(proc); err != nil {
		return err
	}
	// The child has its copies; podlet's would keep the gate's other end and the pipes open.
	files.close()
	return c.openGate(ctx, t, gate, proc)
}

// launchFailed gives the reason of a launch that failed by err, as its record has it where pause told of the process's end first.
func (c *Container) launchFailed(err error) error {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	if c.failed != nil {
		return c.failed
	}
	return c.starvedLocked(err)
}

// runs records that the container runs. If the pod was stopped meanwhile, it doesn't.
func (c *Container) runs(proc *pause.Process) error {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	if c.rec.State != Starting {
		proc.PIDFD.Close()
		if c.failed != nil {
			return c.failed
		}
		return fmt.Errorf("it has ended already, with code %d: %s: %w", c.rec.ExitCode, c.rec.Message, ErrState)
	}
	c.pidfd = proc.PIDFD
	if err := c.saveLocked(func(rec *containerRecord) { rec.State, rec.Started = Running, time.Now() }); err != nil {
		return err
	}
	c.pod.tellLocked(c.id, EventStarted)
	return nil
}

// openGate lets the process go on and waits until its program runs: execve closes the gate, and so does the process's end. A caller
// that went away before the gate is open has started nothing; afterwards only a program that doesn't come to run can still be taken back.
func (c *Container) openGate(ctx context.Context, t *tape.Tape, gate *os.File, proc *pause.Process) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { gate.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := gate.Write([]byte{1}); err != nil && !errors.Is(err, unix.EPIPE) {
		return fmt.Errorf("open the gate: %w", err)
	}
	_, err := gate.Read(make([]byte, 1))
	if errors.Is(err, os.ErrDeadlineExceeded) && !closed(gate) {
		return fmt.Errorf("wait for execve of %s: %w", c.process.Args[0], ctx.Err())
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("wait for execve: %w", err)
	}
	return c.launched(t, proc)
}

// launched says how the launch went, once the gate is closed.
func (c *Container) launched(t *tape.Tape, proc *pause.Process) error {
	// As long as the container is running its exit isn't acknowledged, and the slot not another process's.
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	if c.rec.State != Running {
		return c.failed
	}
	status, err := proc.Status()
	if err != nil {
		return err
	}
	if status.Errno != 0 {
		return t.Error(status.Step, int32(status.Errno))
	}
	return nil
}

// closed says whether the other end of a socket is closed.
func closed(f *os.File) bool {
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	var poll []unix.PollFd
	err = raw.Control(func(fd uintptr) {
		poll = []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		_, err = unix.Poll(poll, 0)
	})
	return err == nil && poll[0].Revents&(unix.POLLRDHUP|unix.POLLHUP) != 0
}

// newGate makes the socket pair at whose one end the process waits; the other end is podlet's.
func newGate(files fds) (*os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make the gate: %w", err)
	}
	files[launch.FDGate] = os.NewFile(uintptr(pair[1]), "gate")
	if err := unix.SetNonblock(pair[0], true); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(pair[0]), "gate of podlet"), nil
}

// makeCgroup makes the container's cgroup with its limits, and opens what a process needs to get into it.
func (c *Container) makeCgroup(ctx context.Context, files fds) (launch.Cgroup, error) {
	path, err := c.groupPath()
	if err != nil {
		return launch.Cgroup{}, err
	}
	limits := c.limits()
	if limits.Devices, err = c.deviceRules(); err != nil {
		return launch.Cgroup{}, err
	}
	group, made, err := c.pod.rt.createGroup(ctx, path, &limits)
	if err != nil {
		return launch.Cgroup{}, err
	}
	c.pod.mu.Lock()
	c.group = group
	c.rec.Made = made
	c.pod.mu.Unlock()
	cg, err := joinFiles(group, files)
	if err != nil || !cg.Unified {
		return cg, err
	}
	dir, err := detachedCgroup(group.V2Dir())
	return cg, files.add(launch.FDCgroup2, dir, err)
}

// joinFiles opens the files by which a process gets into group's v1 trees. Where the launch.Cgroup is Unified, a directory of the v2 tree to
// clone into is wanted beside them: the group's own or one below it.
func joinFiles(group *cgroup.Group, files fds) (launch.Cgroup, error) {
	joins, err := group.JoinFiles()
	if err != nil {
		return launch.Cgroup{}, err
	}
	var cg launch.Cgroup
	for _, j := range joins {
		files[launch.FDJoin(j.Controllers)] = j.File
		if j.Last {
			cg.Last = j.Controllers
		} else {
			cg.Joins = append(cg.Joins, j.Controllers)
		}
	}
	cg.Unified = group.V2Dir() != nil
	return cg, nil
}

// detachedCgroup gives a cgroup directory as the top of a mount of its own. The process that is cloned by it holds it for a moment, and a container with CAP_SYS_PTRACE can
// look even into a process that isn't dumpable: above this one there is nothing of the node's tree.
func detachedCgroup(dir *os.File) (*os.File, error) {
	fd, err := unix.OpenTree(int(dir.Fd()), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return nil, fmt.Errorf("clone the mount of cgroup %s: %w", dir.Name(), err)
	}
	return os.NewFile(uintptr(fd), dir.Name()), nil
}

func duplicate(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("duplicate the fd of %s: %w", f.Name(), err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// stdio are pause's ends of a container's standard streams.
type stdio struct {
	stdin, stdout, stderr, log *os.File
}

func (s *stdio) close() {
	for _, f := range []*os.File{s.stdin, s.stdout, s.stderr, s.log} {
		if f != nil {
			f.Close()
		}
	}
}

// openStdio makes the container's streams and opens its log; the process's ends go into files.
func (c *Container) openStdio(ctx context.Context, files fds) (_ *stdio, err error) {
	s := &stdio{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if c.logPath() != "" {
		s.log, err = logfile.OpenContext(ctx, c.pod.spec.LogDirectory, c.spec.LogPath)
		if err != nil {
			return nil, err
		}
	}
	if c.spec.TTY {
		s.stdout, err = c.openTerminal(files)
		return s, err
	}
	uid, gid := c.hostIdentity()
	for name, end := range map[string]**os.File{launch.FDStdout: &s.stdout, launch.FDStderr: &s.stderr} {
		read, write, err := pipe(uid, gid)
		if err != nil {
			return nil, err
		}
		*end, files[name] = read, write
	}
	if !c.spec.Stdin {
		null, err := c.pod.rt.mounts.OpenNull()
		return s, files.add(launch.FDStdin, null, err)
	}
	read, write, err := pipe(uid, gid)
	if err != nil {
		return nil, err
	}
	s.stdin, files[launch.FDStdin] = write, read
	return s, nil
}

// pipe makes a pipe that belongs to the process's user, who may want to open /proc/self/fd/1 again. Both ends block, as
// programs expect it of their standard streams.
func pipe(uid, gid int) (read, write *os.File, err error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("make a pipe: %w", err)
	}
	read, write = os.NewFile(uintptr(ends[0]), "pipe"), os.NewFile(uintptr(ends[1]), "pipe")
	if err := unix.Fchown(ends[0], uid, gid); err != nil {
		read.Close()
		write.Close()
		return nil, nil, fmt.Errorf("give a pipe to the user %d: %w", uid, err)
	}
	return read, write, nil
}
