package pod

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestHuntSocket: a socket that is on its way to a nursery may still become a pause's, so the hunt doesn't end before it is gone with its holder.
func TestHuntSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), newID())
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
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
	if err := huntSocket(short, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the hunt for a socket on its way ended with %v", err)
	}

	held := received(t, pair[1])
	holder, other := seemingPause(t, held), exec.Command("sleep", "1000")
	other.ExtraFiles = []*os.File{held}
	must(t, other.Start())
	held.Close()
	short, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := huntSocket(short, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the hunt for a socket that another program has, too, ended with %v", err)
	}
	other.Process.Signal(syscall.SIGTERM)
	if err := other.Wait(); other.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("the other program: %v", err)
	}
	if err := huntSocket(t.Context(), path); err != nil {
		t.Error(err)
		holder.Process.Kill()
	}
	holder.Wait()
	if status := holder.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		t.Errorf("the holder ended with %v", holder.ProcessState)
	}
	if err := huntSocket(t.Context(), path); err != nil {
		t.Errorf("a hunt for nothing: %v", err)
	}
}

// TestSocketInodes: a socket counts for the place of its file, not for its name, which anybody can have: as a container in the node's network, on a file
// system of its own.
func TestSocketInodes(t *testing.T) {
	id, strange := newID(), t.TempDir()
	must(t, unix.Mount("strange", strange, "tmpfs", 0, ""))
	defer unix.Unmount(strange, unix.MNT_DETACH)
	// Podlet's own, in a directory whose name would break a table's columns.
	own := filepath.Join(t.TempDir(), "a b")
	must(t, os.Mkdir(own, 0o700))
	sockets := map[string]string{}
	for _, path := range []string{filepath.Join(strange, id), filepath.Join(own, id), filepath.Join(own, id+"x")} {
		l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
		must(t, err)
		defer l.Close()
		f, err := l.File()
		must(t, err)
		defer f.Close()
		sockets[path], err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
		must(t, err)
	}
	got, err := socketInodes(filepath.Join(own, id))
	must(t, err)
	if want := []string{sockets[filepath.Join(own, id)]}; !slices.Equal(got, want) {
		t.Errorf("sockets %q, want %q", got, want)
	}
	got, err = namedSocketInodes(filepath.Join(own, id))
	must(t, err)
	if want := []string{sockets[filepath.Join(strange, id)], sockets[filepath.Join(own, id)]}; len(got) != 2 || !slices.Contains(got, want[0]) || !slices.Contains(got, want[1]) {
		t.Errorf("by the name alone: sockets %q, want %q", got, want)
	}
	// The hunt for one that is nowhere doesn't wait for a stranger's of its name.
	other := newID()
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: filepath.Join(strange, other), Net: "unixpacket"})
	must(t, err)
	defer l.Close()
	must(t, huntSocket(t.Context(), filepath.Join(own, other)))
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
