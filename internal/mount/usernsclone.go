package mount

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// newUserNS makes a user namespace and returns its fd. The kernel gives no user namespace to a process
// with threads (unshare(2): EINVAL), so a child has to be born into one. It executes nothing and touches no memory: it
// sleeps in a system call till it is killed, a moment later, when its maps are written and its namespace is open.
func newUserNS(uidMap, gidMap string) (*os.File, error) {
	pid, err := cloneSleeper()
	if err != nil {
		if errors.Is(err, unix.ENOSPC) {
			err = explain(err, "the machine allows no more user namespaces: raise the sysctl user.max_user_namespaces")
		}
		return nil, &Error{Call: "clone", Key: "CLONE_NEWUSER", Err: err}
	}
	// Until it is waited for, its pid is nobody else's.
	defer func() {
		unix.Kill(pid, unix.SIGKILL)
		for {
			if _, err := unix.Wait4(pid, nil, unix.WALL, nil); err != unix.EINTR {
				return
			}
		}
	}()
	proc := "/proc/" + strconv.Itoa(pid)
	if err := writeMap(proc+"/uid_map", uidMap); err != nil {
		return nil, err
	}
	if err := writeMap(proc+"/gid_map", gidMap); err != nil {
		return nil, err
	}
	f, err := os.Open(proc + "/ns/user")
	if err != nil {
		return nil, fmt.Errorf("open the new user namespace: %w", err)
	}
	return f, nil
}

func writeMap(path, text string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &Error{Call: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	// The kernel takes the whole map in one write.
	if _, err := unix.Write(fd, []byte(text)); err != nil {
		return &Error{Call: "write", Path: path, Value: strconv.Quote(text), Err: err}
	}
	return nil
}

// cloneSleeper starts the child. All signals are blocked around the clone, so that no handler of the Go
// runtime ever runs in the child; the child sends no signal at its end (exit signal 0).
func cloneSleeper() (int, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old); err != nil {
		return 0, fmt.Errorf("block signals: %w", err)
	}
	pid, errno := rawCloneSleeper(uintptr(os.Getpid()))
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil); err != nil {
		return 0, fmt.Errorf("unblock signals: %w", err)
	}
	if errno != 0 {
		return 0, errno
	}
	return int(pid), nil
}

// rawCloneSleeper is the part the child sees: it mustn't grow the stack, be instrumented or allocate. CLONE_FILES shares
// the fd table instead of copying it, so no fd of podlet's lives longer for the child's sake.
//
//go:nosplit
//go:norace
func rawCloneSleeper(parent uintptr) (uintptr, unix.Errno) {
	// The two argument orders of clone(2) differ only in the unused pointers.
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, unix.CLONE_NEWUSER|unix.CLONE_FILES, 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	unix.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0, 0)
	ppid, _, _ := unix.RawSyscall6(unix.SYS_GETPPID, 0, 0, 0, 0, 0, 0)
	for ppid == parent {
		unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
	}
	for {
		unix.RawSyscall6(unix.SYS_EXIT_GROUP, 0, 0, 0, 0, 0, 0)
	}
}
