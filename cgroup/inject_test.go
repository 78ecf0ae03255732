package cgroup

import (
	"errors"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Faults are injected by seccomp's user notification (seccomp_unotify(2)): the code
// under test runs on a thread whose calls of openat2, mkdirat and bpf ask this file
// first. Every step that makes a cgroup or writes one of its files begins with one.

// injected is the error that each of the calls fails with.
var injected = map[int32]unix.Errno{unix.SYS_OPENAT2: unix.EMFILE, unix.SYS_MKDIRAT: unix.ENOSPC, unix.SYS_BPF: unix.ENOMEM}

// seccompNotif and seccompResp are linux/seccomp.h's.
type (
	seccompNotif struct {
		id         uint64
		pid, flags uint32
		nr         int32
		arch       uint32
		ip         uint64
		args       [6]uint64
	}
	seccompResp struct {
		id    uint64
		val   int64
		errno int32
		flags uint32
	}
)

// fault is what fails: the call number first, counted from 0, or with on set that
// one and all after it.
type fault struct {
	first int
	on    bool
	only  int32      // a system call; 0: each of the three
	errno unix.Errno // 0: see injected
}

func (f fault) error(nr int32) int32 {
	if f.errno != 0 {
		return -int32(f.errno)
	}
	return -int32(injected[nr])
}

func (f fault) fails(n int) bool { return n == f.first || f.on && n > f.first }

// withFault runs f, on a thread of its own. hit says whether f came to the fault.
func withFault(t *testing.T, what fault, f func() error) (hit bool, err error) {
	t.Helper()
	type start struct {
		fd  int
		err error
	}
	started, ended := make(chan start), make(chan error, 1)
	go func() {
		// The thread ends with the goroutine, since it is never unlocked and not the
		// process's first: see init in main_test.go.
		runtime.LockOSThread()
		fd, err := filterThread()
		started <- start{fd, err}
		if err == nil {
			ended <- f()
		}
	}()
	s := <-started
	if s.err != nil {
		t.Fatalf("install the seccomp filter: %v", s.err)
	}
	defer unix.Close(s.fd)
	hit = serve(t, s.fd, what)
	return hit, <-ended
}

// filterThread filters the calling thread and returns the listener. The thread is deaf to signals, such as Go's scheduler sends: one that came between an
// answer and the call's hearing it would take the call back, and the fault with it.
func filterThread() (int, error) {
	var all unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &all, nil); err != nil {
		return -1, err
	}
	const load, equal, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	filter := []unix.SockFilter{
		{Code: load}, // struct seccomp_data begins with the number
		{Code: equal, K: unix.SYS_OPENAT2, Jt: 3},
		{Code: equal, K: unix.SYS_MKDIRAT, Jt: 2},
		{Code: equal, K: unix.SYS_BPF, Jt: 1},
		{Code: ret, K: unix.SECCOMP_RET_ALLOW},
		{Code: ret, K: unix.SECCOMP_RET_USER_NOTIF},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// serve answers until the filtered thread is no more.
func serve(t *testing.T, fd int, what fault) (hit bool) {
	for n := 0; ; {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, 60_000); err != nil {
			if errors.Is(err, unix.EINTR) {
				continue
			}
			t.Errorf("poll the seccomp listener: %v", err)
			return hit
		}
		if poll[0].Revents&unix.POLLIN == 0 {
			if poll[0].Revents == 0 {
				t.Error("the filtered thread hangs")
			}
			return hit
		}
		var ask seccompNotif
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&ask))); errno != 0 {
			continue // a signal took the call back; it comes again
		}
		answer := seccompResp{id: ask.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		counts := what.only == 0 || what.only == ask.nr
		if counts && what.fails(n) {
			answer = seccompResp{id: ask.id, errno: what.error(ask.nr)}
		}
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&answer))); errno != 0 {
			continue
		}
		if counts {
			hit = hit || what.fails(n)
			n++
		}
	}
}
