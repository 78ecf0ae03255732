package pod

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"podlet/internal/network"
)

// dialTime is how long an app may take to accept a connection from inside its own pod.
const dialTime = 10 * time.Second

// loopback are the addresses that Dial tries, in order.
var loopback = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

// Ready gives an error unless the pod is ready now.
func (r *Runtime) Ready(ctx context.Context, id string) error {
	p, err := r.pod(ctx, id)
	if err != nil {
		return err
	}
	if p.status.Load().State != PodReady {
		return fmt.Errorf("pod %s is not ready: %w", p.name(), ErrState)
	}
	return nil
}

// Dial connects to a TCP port of the pod's own loopback, as a process in the pod would: to 127.0.0.1, else to ::1. A pod in the node's network has the node's loopback.
func (r *Runtime) Dial(ctx context.Context, id string, port uint16) (net.Conn, error) {
	p, err := r.pod(ctx, id)
	if err != nil {
		return nil, err
	}
	ns, err := p.openNamespace("net")
	if err != nil {
		return nil, fmt.Errorf("open the network namespace of pod %s: %w", p.name(), err)
	}
	defer ns.Close()
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	var failed []error
	for _, addr := range loopback {
		conn, err := dialInside(ctx, ns, netip.AddrPortFrom(addr, port))
		if err == nil {
			return conn, nil
		}
		failed = append(failed, err)
	}
	return nil, fmt.Errorf("nothing in pod %s takes connections: %w", p.name(), errors.Join(failed...))
}

// dialInside connects from inside a network namespace. The socket is made there, and stays of there; no thread but for that moment has to be.
func dialInside(ctx context.Context, ns *os.File, to netip.AddrPort) (net.Conn, error) {
	family, address := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: int(to.Port()), Addr: [4]byte{127, 0, 0, 1}})
	if to.Addr().Is6() {
		family, address = unix.AF_INET6, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	}
	var socket *os.File
	err := network.Inside(ns, func() error {
		fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err == nil {
			socket = os.NewFile(uintptr(fd), to.String())
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("socket for %s: %w", to, err)
	}
	defer socket.Close()
	if err := connect(ctx, socket, address); err != nil {
		return nil, fmt.Errorf("connect to %s: %w", to, err)
	}
	conn, err := net.FileConn(socket)
	if err != nil || !toItself(conn) {
		return conn, err
	}
	// A reset leaves nothing that would keep an app from the port.
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
	return nil, fmt.Errorf("connect to %s: %w", to, unix.ECONNREFUSED)
}

// toItself says whether the socket is its own other end: the kernel took the very port that it was to connect to as its source, as it does only where
// nobody listens.
func toItself(conn net.Conn) bool {
	peer := conn.RemoteAddr() // nil where it has gone already
	return peer != nil && peer.String() == conn.LocalAddr().String()
}

// connect connects a non-blocking socket, waiting as long as ctx lasts.
func connect(ctx context.Context, socket *os.File, address unix.Sockaddr) error {
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { socket.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	var result error
	asked := false
	err = raw.Write(func(fd uintptr) bool {
		if !asked {
			asked = true
			result = unix.Connect(int(fd), address)
			return !errors.Is(result, unix.EINPROGRESS) && !errors.Is(result, unix.EINTR)
		}
		// connect(2): writable means that it is decided.
		code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		switch {
		case err != nil:
			result = err
		case code != 0:
			result = unix.Errno(code)
		default:
			_, result = unix.Getpeername(int(fd))
			return !errors.Is(result, unix.ENOTCONN)
		}
		return true
	})
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(err, result)
}
