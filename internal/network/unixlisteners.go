package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// UnixListener is a Unix socket that listens, in the network namespace of the caller.
type UnixListener struct {
	// Inode is its number, as in the "socket:[123]" of /proc/PID/fd.
	Inode uint64
	// Name is what it was bound to: a path as its maker said it, or "\x00" and an abstract name.
	Name string
	// Dev is the number of the file system on which its file is, or was, as in Stat_t; 0 for an abstract name. It can't be had by
	// saying a path, as a name can.
	Dev uint64
}

// ErrNoUnixDiag says that the kernel can't list Unix sockets by sock_diag(7): it lacks CONFIG_UNIX_DIAG.
var ErrNoUnixDiag = errors.New("the kernel has no CONFIG_UNIX_DIAG")

// Numbers of sock_diag(7), linux/unix_diag.h and net/tcp_states.h.
const (
	sockDiagByFamily        = 20
	unixDiagName            = 0
	unixDiagVFS             = 1
	showName, showVFS       = 1 << 0, 1 << 1
	listening               = 10
	sizeOfUnixDiag          = 16
	inodeOfUnixDiag         = 4
	sizeOfUnixDiagVFS       = 8
	minorBits, minorBitMask = 20, 1<<20 - 1
)

// UnixListeners lists them. Unlike /proc/net/unix the answer has no column that a name can break, and says where a socket's file is.
func UnixListeners() ([]UnixListener, error) {
	sock, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil, ErrNoUnixDiag
	}
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket for sock_diag: %w", err)
	}
	defer unix.Close(sock)
	// struct unix_diag_req: family, protocol, pad, states, inode, show, cookie.
	ask := []byte{unix.AF_UNIX, 0, 0, 0}
	ask = binary.NativeEndian.AppendUint32(ask, 1<<listening)
	ask = binary.NativeEndian.AppendUint32(ask, 0)
	ask = binary.NativeEndian.AppendUint32(ask, showName|showVFS)
	ask = append(ask, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	var list []UnixListener
	err = dump(sock, sockDiagByFamily, ask, func(m *syscall.NetlinkMessage) error {
		l, err := readUnixListener(m)
		if err == nil {
			list = append(list, l)
		}
		return err
	})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, ErrNoUnixDiag
	}
	if err != nil {
		return nil, fmt.Errorf("list the listening Unix sockets: %w", err)
	}
	return list, nil
}

// readUnixListener reads a struct unix_diag_msg and its attributes.
func readUnixListener(m *syscall.NetlinkMessage) (l UnixListener, err error) {
	if len(m.Data) < sizeOfUnixDiag {
		return l, errors.New("the kernel's message is cut short")
	}
	l.Inode = uint64(binary.NativeEndian.Uint32(m.Data[inodeOfUnixDiag:]))
	for rest := m.Data[sizeOfUnixDiag:]; len(rest) >= unix.SizeofRtAttr; {
		size, kind := int(binary.NativeEndian.Uint16(rest)), binary.NativeEndian.Uint16(rest[2:])
		if size < unix.SizeofRtAttr || size > len(rest) {
			return l, errors.New("an attribute of the kernel's message is longer than that")
		}
		value := rest[unix.SizeofRtAttr:size]
		switch {
		case kind == unixDiagName:
			l.Name = string(value)
			if path, _, ended := strings.Cut(l.Name, "\x00"); ended && path != "" {
				l.Name = path
			}
		case kind == unixDiagVFS && len(value) >= sizeOfUnixDiagVFS:
			// The kernel's own form of a device number, which is not that of stat(2).
			dev := binary.NativeEndian.Uint32(value[4:])
			l.Dev = unix.Mkdev(dev>>minorBits, dev&minorBitMask)
		}
		rest = rest[min(len(rest), (size+3)&^3):]
	}
	return l, nil
}
