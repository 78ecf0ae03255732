package pause

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	// maxSocketPath is the most that sockaddr_un takes, without its NUL.
	maxSocketPath = 107
	backlog       = 16
)

// Listen makes the socket of a pod's pause at path, mode 0600, for Clone.Listen. Nothing may be at path (EADDRINUSE): the name of a pause
// that is gone is the caller's to remove. The caller closes the file as soon as the clone has it, else a pause that
// dies isn't noticed by whoever dials.
//
// A socket's SO_PEERCRED is whoever called listen(2) on it last. If the pause's own tape does so again, Conn.Peer can tell its pidfd after a
// restart of podlet.
func Listen(path string) (*os.File, error) {
	f, err := listen(path)
	if err != nil {
		return nil, fmt.Errorf("pause: listen at %s: %w", path, err)
	}
	return f, nil
}

func listen(path string) (*os.File, error) {
	address, release, err := socketAddress(path)
	if err != nil {
		return nil, err
	}
	defer release()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), path)
	// The socket's name gets its mode from the socket: it is never there with another.
	if err := unix.Fchmod(fd, 0o600); err != nil {
		f.Close()
		return nil, fmt.Errorf("chmod: %w", err)
	}
	if err := unix.Bind(fd, address); err != nil {
		f.Close()
		return nil, fmt.Errorf("bind: %w", err)
	}
	// After NewFile, so that Go's poller doesn't know it: pause accepts.
	if err := errors.Join(unix.Listen(fd, backlog), unix.SetNonblock(fd, true)); err != nil {
		f.Close()
		return nil, errors.Join(err, os.Remove(path))
	}
	return f, nil
}

// Dial connects to the pause whose socket is at path, and takes the place of another connection it may have. onExit is told of each
// exit that happens from then on, one after the other, in order; it may use the connection but not Close it, may be called before the Clone
// that started the process returns, and may be nil. Exits from before are in List.
//
// ECONNREFUSED says that nobody has the socket any more: the pause is dead. A context that ends is a pause that doesn't answer.
func Dial(ctx context.Context, path string, onExit func(State)) (*Conn, error) {
	sock, err := connect(path)
	if err != nil {
		return nil, fmt.Errorf("pause: connect to %s: %w", path, err)
	}
	c, err := newConn(ctx, sock, onExit)
	if err != nil {
		return nil, fmt.Errorf("pause at %s: %w", path, err)
	}
	return c, nil
}

func connect(path string) (*os.File, error) {
	address, release, err := socketAddress(path)
	if err != nil {
		return nil, err
	}
	defer release()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	if err := unix.Connect(fd, address); err != nil {
		unix.Close(fd)
		if errors.Is(err, unix.EAGAIN) {
			return nil, fmt.Errorf("%w: %d connections wait and it accepts none: it is stopped or hangs", err, backlog+1)
		}
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// socketAddress is path as a socket address, until release. One that is too long is reached through its directory's fd.
func socketAddress(path string) (address *unix.SockaddrUnix, release func(), err error) {
	if len(path) <= maxSocketPath {
		return &unix.SockaddrUnix{Name: path}, func() {}, nil
	}
	dir, name := filepath.Split(path)
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open %s: %w", dir, err)
	}
	short := procFD(fd, name)
	if len(short) > maxSocketPath {
		unix.Close(fd)
		return nil, nil, fmt.Errorf("the name %q is longer than a socket's can be: %w", name, unix.ENAMETOOLONG)
	}
	return &unix.SockaddrUnix{Name: short}, func() { unix.Close(fd) }, nil
}
