package pause

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Peer is a pidfd of the pause at the other end, for a podlet that didn't start it; the caller closes it. The kernel knows it because that pause
// called listen(2) on its socket in its own tape; one that didn't, and the nursery, give an error.
//
// Only a connection made after that listen(2) tells. A pause that has just been cloned has Process.PIDFD.
func (c *Conn) Peer(ctx context.Context) (*os.File, error) {
	if err := c.Err(); err != nil {
		return nil, fmt.Errorf("pause: pidfd of the peer: %w", err)
	}
	f, err := c.peerPidfd()
	if errors.Is(err, unix.ENOPROTOOPT) { // before Linux 6.5
		f, err = c.peerByNumber(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("pause: pidfd of the peer: %w", err)
	}
	pid, err := PID(f)
	if err == nil && pid == os.Getpid() {
		err = errors.New("pause's socket is podlet's own: its tape has no listen step, or it was not there yet")
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("pause: pidfd of the peer: %w", err)
	}
	return f, nil
}

func (c *Conn) peerPidfd() (*os.File, error) {
	pidfd := -1
	var err error
	if controlErr := c.raw.Control(func(fd uintptr) {
		pidfd, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	}); controlErr != nil {
		return nil, controlErr
	}
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODATA) {
		return nil, os.ErrProcessDone
	}
	if err != nil {
		return nil, fmt.Errorf("SO_PEERPIDFD: %w", err)
	}
	return pidfdFile(pidfd), nil
}

// peerByNumber goes by the peer's pid. If it answers after the pidfd is open, the number was still its own.
func (c *Conn) peerByNumber(ctx context.Context) (*os.File, error) {
	var who *unix.Ucred
	var err error
	if controlErr := c.raw.Control(func(fd uintptr) {
		who, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); controlErr != nil {
		return nil, controlErr
	}
	if err != nil {
		return nil, fmt.Errorf("SO_PEERCRED: %w", err)
	}
	pidfd, err := unix.PidfdOpen(int(who.Pid), 0)
	if err != nil {
		return nil, fmt.Errorf("pidfd_open of %d: %w", who.Pid, err)
	}
	f := pidfdFile(pidfd)
	r, err := do(ctx, c, &call{request: "HELLO", want: typeWelcome}, typeHello, &msgHello{Version: ProtocolVersion}, nil)
	r.drop()
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
