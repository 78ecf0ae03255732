package tape

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestError(t *testing.T) {
	b := New("container web/nginx")
	b.Attach(b.FD("proc"), b.FD("target"), "mount proc on /proc")
	b.Setsid("")
	b.Execve("/bin/x", []string{"x"}, []string{"KEY=secret"}, "start x")
	b.Execve("/sbin/y", []string{"y"}, nil, "run /sbin/y").Try().Ignore(unix.ENOENT, unix.EACCES).Sought("find y")
	b.Execve("/bin/y", []string{"y"}, nil, "run /bin/y").Try().Ignore(unix.ENOENT, unix.EACCES).Sought("find y")
	tp := finish(t, b)
	for _, c := range []struct {
		step  uint32
		errno unix.Errno
		index int
		want  string
	}{
		{0, unix.EPERM, 0, `mount proc on /proc: EPERM [step 0: move_mount(<proc>, "", <target>, "", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH)]`},
		{1, unix.EPERM, 1, `setsid(): EPERM`},
		{2, unix.ENOENT, 2, `start x: ENOENT (no such program, or the interpreter or loader that it names doesn't exist) [step 2: execve("/bin/x", ["x"], /* 1 var */)]`},
		{1, unix.ENOSYS, 1, `setsid(): ENOSYS (the kernel is too old for this call, or a seccomp filter forbids it)`},
		{1, 4095, 1, `setsid(): errno 4095`},
		{3, unix.EACCES, 3, `run /sbin/y: EACCES (not executable for this user, no regular file, or on a mount without exec) [step 3: execve("/sbin/y", ["y"], /* 0 vars */) or ENOENT, EACCES (a try)]`},
		{4, unix.ENOENT, -1, `find y: ENOENT (no such program, or the interpreter or loader that it names doesn't exist)`},
		{5, unix.ENOEXEC, -1, `play the tape: ENOEXEC (it ran out without an execve)`},
		{6, unix.EPERM, -1, `step 6 of a tape that has 5: EPERM (pause reports on another tape)`},
		{stepInvalid, unix.EINVAL, -1, `hand the tape to pause: EINVAL (pause refused the tape itself: podlet and pause don't fit together)`},
		{stepNone, unix.EAGAIN, -1, `start a process to play the tape: EAGAIN`},
	} {
		err := tp.Error(c.step, int32(c.errno))
		var e *StepError
		if !errors.As(err, &e) || !errors.Is(err, c.errno) || e.Index != c.index {
			t.Errorf("step %d: %#v", c.step, err)
			continue
		}
		if err.Error() != c.want {
			t.Errorf("step %d reads\n %v, want\n %s", c.step, err, c.want)
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("step %d tells the environment", c.step)
		}
	}
	if err := tp.Error(1, 0); err != nil {
		t.Errorf("errno 0: %v", err)
	}
}

// TestHintsAreForCalls fails for a hint that no step can give.
func TestHintsAreForCalls(t *testing.T) {
	for f := range hints {
		if _, ok := calls[f.nr]; !ok {
			t.Errorf("a hint for %v of call %d, which no constructor makes", f.errno, f.nr)
		}
	}
}
