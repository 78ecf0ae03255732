package pause

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// sleepProcess starts a process of this machine's own; it is killed and reaped with the test.
func sleepProcess(t testing.TB) *os.File {
	t.Helper()
	cmd := exec.Command("/bin/sleep", "1000")
	fd := -1
	cmd.SysProcAttr = &syscall.SysProcAttr{PidFD: &fd, Cloneflags: unix.CLONE_NEWUTS}
	must(t, cmd.Start())
	f := pidfdFile(fd)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		f.Close()
	})
	return f
}

func TestNamespacesBothWays(t *testing.T) {
	f := sleepProcess(t)
	fd, err := fdOf(f)
	must(t, err)
	byProc, err := namespacesByProc(fd)
	must(t, err)
	got, err := NamespacesOf(f)
	must(t, err)
	if got != byProc {
		t.Errorf("%+v, by number %+v", got, byProc)
	}
	byIoctl, err := namespacesByIoctl(fd)
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
		t.Skip("this kernel has no PIDFD_GET_NET_NAMESPACE (Linux 6.11); by number they are read")
	}
	must(t, err)
	if byIoctl != byProc {
		t.Errorf("by ioctl %+v, by number %+v", byIoctl, byProc)
	}
	var uts, net unix.Stat_t
	must(t, unix.Stat("/proc/self/ns/uts", &uts))
	must(t, unix.Stat("/proc/self/ns/net", &net))
	if got.UTS == uts.Ino || got.Net != net.Ino {
		t.Errorf("%+v beside our UTS %d, NET %d", got, uts.Ino, net.Ino)
	}
}

func TestEndedProcess(t *testing.T) {
	f := sleepProcess(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Exited(ctx, f); !errors.Is(err, context.Canceled) {
		t.Errorf("Exited, given up: %v", err)
	}
	ended := make(chan error)
	for range 2 {
		go func() { ended <- Exited(t.Context(), f) }()
	}
	must(t, Signal(f, unix.SIGKILL))
	for range 2 {
		must(t, <-ended)
	}
	must(t, Exited(t.Context(), f))
	// A zombie still: it is ended all the same.
	must(t, waitReaped(f))
	if err := Signal(f, unix.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("Signal: %v, want os.ErrProcessDone", err)
	}
	if _, err := NamespacesOf(f); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("NamespacesOf: %v, want os.ErrProcessDone", err)
	}
	if _, err := PID(f); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("PID: %v, want os.ErrProcessDone", err)
	}
}

func waitReaped(f *os.File) error {
	fd, err := fdOf(f)
	if err != nil {
		return err
	}
	return unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED, nil)
}

func TestNoPidfd(t *testing.T) {
	f, err := os.Open("/dev/null")
	must(t, err)
	if _, err := PID(f); err == nil {
		t.Error("/dev/null has a pid")
	}
	if err := Signal(f, 0); err == nil {
		t.Error("/dev/null takes signals")
	}
	if _, err := NamespacesOf(f); err == nil {
		t.Error("/dev/null has namespaces")
	}
	f.Close()
	for name, err := range map[string]error{"Signal": Signal(f, 0), "Exited": Exited(t.Context(), f)} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s of a closed file: %v", name, err)
		}
	}
}
