package pause

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Options say how the nursery starts.
type Options struct {
	// Tape, if not nil, is played by the nursery itself (Conn.Self) before Start returns, with FDs: its way into a small root.
	Tape []byte
	FDs  []*os.File
	// OnExit is told of each pause that ends, as Dial's. Each exit must be acknowledged, or after MaxPods of them nothing more can be cloned. It may be nil.
	OnExit func(State)
	// Stderr is where a build with sanitizers reports to; nil: closed. The binary proper never writes.
	Stderr *os.File
	// Binary is executed instead of the embedded one; nil: that.
	Binary *os.File
	// Env is its environment; nil: empty, which is what the embedded binary wants.
	Env []string
}

// Nursery is the small process that clones pods' pauses. It is podlet's child, in a mount namespace, session and process group of
// its own, so that no terminal's signal reaches it. It ends when the connection does; the pauses it started live on.
type Nursery struct {
	*Conn
	// PIDFD refers to the process. Close closes it.
	PIDFD *os.File

	process *os.Process
}

const (
	nurseryFD = 3 // NURSERY_FD of src/main.c
	binaryFD  = 4 // a number that Go gives the child, so that no other fd of podlet's can have it there
)

// titleRoom is how long argv[0] is, for what src/title.c writes there: the longest role, a space, a name of 31 bytes.
const titleRoom = 64

// Start starts a nursery. When it is no more needed, or when its connection is lost (Conn.Done), Close must be called.
func Start(ctx context.Context, o Options) (*Nursery, error) {
	n, err := start(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("nursery: %w", err)
	}
	if o.Tape == nil {
		return n, nil
	}
	if err := n.Self(ctx, o.Tape, o.FDs); err != nil {
		return nil, errors.Join(fmt.Errorf("nursery: the way into its root: %w", err), n.Close())
	}
	return n, nil
}

func start(ctx context.Context, o Options) (*Nursery, error) {
	exe := o.Binary
	if exe == nil {
		f, err := openBinary()
		if err != nil {
			return nil, err
		}
		defer f.Close()
		exe = f
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	n, err := startProcess(exe, theirs, o)
	theirs.Close()
	if err != nil {
		ours.Close()
		return nil, err
	}
	n.Conn, err = newConn(ctx, ours, o.OnExit)
	if err != nil {
		return nil, errors.Join(err, n.end())
	}
	return n, nil
}

func startProcess(exe, sock *os.File, o Options) (*Nursery, error) {
	env := o.Env
	if env == nil {
		env = []string{}
	}
	pidfd := -1
	argv := []string{binaryName + strings.Repeat(" ", titleRoom-len(binaryName)), "nursery"}
	process, err := os.StartProcess(procFD(binaryFD, ""), argv, &os.ProcAttr{
		Dir: "/",
		Env: env,
		// pause fills 0 to 2 itself.
		Files: []*os.File{nil, nil, o.Stderr, nurseryFD: sock, binaryFD: exe},
		Sys: &syscall.SysProcAttr{
			Setsid: true,
			PidFD:  &pidfd,
			// Unsharing makes all mounts private as well, Cloneflags wouldn't.
			Unshareflags: unix.CLONE_NEWNS,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", binaryName, err)
	}
	n := &Nursery{process: process}
	if pidfd < 0 {
		return nil, errors.Join(errors.New("the kernel gave no pidfd: Linux 5.15 or later is needed"), process.Kill(), n.end())
	}
	n.PIDFD = pidfdFile(pidfd)
	return n, nil
}

func socketPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "nursery's end")
	if err := unix.SetNonblock(fds[0], true); err != nil {
		unix.Close(fds[0])
		theirs.Close()
		return nil, nil, fmt.Errorf("socketpair: O_NONBLOCK: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "nursery"), theirs, nil
}

// Close ends the connection, waits for the nursery's end and reaps it. A nursery that doesn't end within a second is killed.
func (n *Nursery) Close() error { return errors.Join(n.Conn.Close(), n.end()) }

func (n *Nursery) end() error {
	if n.PIDFD == nil {
		_, err := n.process.Wait()
		return err
	}
	defer n.PIDFD.Close()
	for _, kill := range []bool{false, true} {
		if kill {
			_ = Signal(n.PIDFD, unix.SIGKILL)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err := Exited(ctx, n.PIDFD)
		cancel()
		if err == nil {
			_, err = n.process.Wait()
			return err
		}
		if errors.Is(err, os.ErrClosed) {
			return nil
		}
	}
	return errors.Join(fmt.Errorf("nursery %d doesn't die of SIGKILL: it hangs in the kernel", n.process.Pid), n.process.Release())
}
