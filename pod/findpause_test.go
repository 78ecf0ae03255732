package pod

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestHuntSocket: a socket that is on its way to a nursery may still become a pause's, so the hunt doesn't end before it is gone with its holder.
func TestHuntSocket(t *testing.T) {
	id := newID()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), id), Net: "unix"})
	must(t, err)
	socket, err := listener.File()
	must(t, err)
	must(t, listener.Close())
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	must(t, unix.Sendmsg(pair[0], []byte("clone"), unix.UnixRights(int(socket.Fd())), nil, 0))
	must(t, socket.Close())

	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := huntSocket(short, id); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the hunt for a socket on its way ended with %v", err)
	}

	held := received(t, pair[1])
	holder, other := seemingPause(t, held), exec.Command("sleep", "1000")
	other.ExtraFiles = []*os.File{held}
	must(t, other.Start())
	held.Close()
	short, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := huntSocket(short, id); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the hunt for a socket that another program has, too, ended with %v", err)
	}
	other.Process.Signal(syscall.SIGTERM)
	if err := other.Wait(); other.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("the other program: %v", err)
	}
	if err := huntSocket(t.Context(), id); err != nil {
		t.Error(err)
		holder.Process.Kill()
	}
	holder.Wait()
	if status := holder.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		t.Errorf("the holder ended with %v", holder.ProcessState)
	}
	if err := huntSocket(t.Context(), id); err != nil {
		t.Errorf("a hunt for nothing: %v", err)
	}
}

// seemingPause starts a process that has the file and passes for a pause without a title.
func seemingPause(t *testing.T, held *os.File) *exec.Cmd {
	t.Helper()
	sleep, err := exec.LookPath("sleep")
	must(t, err)
	program, err := os.ReadFile(sleep)
	must(t, err)
	own := filepath.Join(t.TempDir(), "podlet-pause")
	must(t, os.WriteFile(own, program, 0o700))
	cmd := &exec.Cmd{Path: own, Args: []string{"sleep", "1000"}, ExtraFiles: []*os.File{held}}
	must(t, cmd.Start())
	return cmd
}

func received(t *testing.T, socket int) *os.File {
	t.Helper()
	control := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, make([]byte, 16), control, unix.MSG_CMSG_CLOEXEC)
	must(t, err)
	messages, err := unix.ParseSocketControlMessage(control[:n])
	must(t, err)
	fds, err := unix.ParseUnixRights(&messages[0])
	must(t, err)
	return os.NewFile(uintptr(fds[0]), "socket")
}
