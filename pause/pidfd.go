package pause

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func pidfdFile(fd int) *os.File { return os.NewFile(uintptr(fd), "pidfd") }

// Signal sends sig to the process of pidfd. One that has ended is os.ErrProcessDone, whether reaped or not.
func Signal(pidfd *os.File, sig unix.Signal) error {
	fd, err := fdOf(pidfd)
	if err != nil {
		return err
	}
	err = unix.PidfdSendSignal(fd, sig, nil, 0)
	runtime.KeepAlive(pidfd)
	if errors.Is(err, unix.ESRCH) {
		return os.ErrProcessDone
	}
	if err != nil {
		return fmt.Errorf("pidfd_send_signal %v: %w", sig, err)
	}
	return nil
}

// Exited waits until the process of pidfd has ended, all its threads. It needs no pause: a process that anybody started will do.
func Exited(ctx context.Context, pidfd *os.File) error {
	fd, err := fdOf(pidfd)
	if err != nil {
		return err
	}
	// An fd of its own, so that this wait alone can be given up.
	twin, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	runtime.KeepAlive(pidfd)
	if err != nil {
		return fmt.Errorf("pidfd: dup: %w", err)
	}
	if err := unix.SetNonblock(twin, true); err != nil {
		unix.Close(twin)
		return fmt.Errorf("pidfd: O_NONBLOCK: %w", err)
	}
	f := os.NewFile(uintptr(twin), "pidfd")
	defer f.Close()
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { f.Close() })
	defer stop()
	err = raw.Read(func(fd uintptr) bool {
		ended, pollErr := readable(int(fd))
		return ended || pollErr != nil
	})
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// readable tells without waiting whether a process of a pidfd has ended.
func readable(fd int) (bool, error) {
	for {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		if err != unix.EINTR {
			return n > 0, err
		}
	}
}

// Namespaces are the inode numbers of a process's namespaces, as /proc/PID/ns shows them.
type Namespaces struct {
	Cgroup, IPC, Mount, Net, PID, Time, User, UTS uint64
}

// The ioctls of a pidfd that open its process's namespaces (Linux 6.11; linux/pidfd.h).
const pidfdGetNamespace = 0xff00

// NamespacesOf reads the namespaces of the process of pidfd. One that has ended has none: os.ErrProcessDone.
func NamespacesOf(pidfd *os.File) (Namespaces, error) {
	fd, err := fdOf(pidfd)
	if err != nil {
		return Namespaces{}, err
	}
	defer runtime.KeepAlive(pidfd)
	n, err := namespacesByIoctl(fd)
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
		n, err = namespacesByProc(fd)
	}
	if err == nil {
		return n, nil
	}
	if ended, _ := readable(fd); ended {
		return Namespaces{}, os.ErrProcessDone
	}
	return Namespaces{}, fmt.Errorf("namespaces: %w", err)
}

func (n *Namespaces) fields() []struct {
	nr   uint
	name string
	to   *uint64
} {
	return []struct {
		nr   uint
		name string
		to   *uint64
	}{
		{1, "cgroup", &n.Cgroup}, {2, "ipc", &n.IPC}, {3, "mnt", &n.Mount}, {4, "net", &n.Net},
		{5, "pid", &n.PID}, {7, "time", &n.Time}, {9, "user", &n.User}, {10, "uts", &n.UTS},
	}
}

func namespacesByIoctl(pidfd int) (Namespaces, error) {
	var n Namespaces
	for _, f := range n.fields() {
		ns, err := unix.IoctlRetInt(pidfd, pidfdGetNamespace|f.nr)
		if err != nil {
			return n, fmt.Errorf("PIDFD_GET_%s_NAMESPACE: %w", strings.ToUpper(f.name), err)
		}
		var st unix.Stat_t
		err = unix.Fstat(ns, &st)
		unix.Close(ns)
		if err != nil {
			return n, fmt.Errorf("%s namespace: %w", f.name, err)
		}
		*f.to = st.Ino
	}
	return n, nil
}

// namespacesByProc goes by the number; only if the process still lives afterwards was the number its own all the time.
func namespacesByProc(pidfd int) (Namespaces, error) {
	var n Namespaces
	pid, err := pidOf(pidfd)
	if err != nil {
		return n, err
	}
	for _, f := range n.fields() {
		var st unix.Stat_t
		if err := unix.Stat(fmt.Sprintf("/proc/%d/ns/%s", pid, f.name), &st); err != nil {
			return n, fmt.Errorf("/proc/%d/ns/%s: %w", pid, f.name, err)
		}
		*f.to = st.Ino
	}
	ended, err := readable(pidfd)
	if err != nil {
		return n, err
	}
	if ended {
		return n, os.ErrProcessDone
	}
	return n, nil
}

// PID is the number of pidfd's process in podlet's PID namespace, for people and for what the kernel offers by number only: it
// may be another process's as soon as this one has ended, which is os.ErrProcessDone.
func PID(pidfd *os.File) (int, error) {
	fd, err := fdOf(pidfd)
	if err != nil {
		return 0, err
	}
	defer runtime.KeepAlive(pidfd)
	return pidOf(fd)
}

func pidOf(pidfd int) (int, error) {
	info, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(pidfd))
	if err != nil {
		return 0, fmt.Errorf("pidfd: %w", err)
	}
	for line := range strings.Lines(string(info)) {
		text, ok := strings.CutPrefix(line, "Pid:")
		if !ok {
			continue
		}
		pid, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil {
			return 0, fmt.Errorf("pidfd: %q: %w", line, err)
		}
		if pid < 0 {
			return 0, os.ErrProcessDone
		}
		if pid == 0 {
			return 0, errors.New("pidfd: its process is outside podlet's PID namespace")
		}
		return pid, nil
	}
	return 0, errors.New("pidfd: the file is none")
}
