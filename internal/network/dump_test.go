package network

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// routeSocket makes an rtnetlink socket in the namespace; it stays there.
func routeSocket(t *testing.T, ns *os.File) (fd int) {
	t.Helper()
	must(t, Inside(ns, func() (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		return err
	}))
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// anyFamily is the one byte of struct rtgenmsg, AF_UNSPEC, padded.
var anyFamily = []byte{unix.AF_UNSPEC, 0, 0, 0}

// TestDumpOfManyLinks: an answer of more than one message. A bridge is a link that every node's kernel has.
func TestDumpOfManyLinks(t *testing.T) {
	const count = 120
	ns := newNetNS(t, func() error {
		for i := range count {
			if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprintf("d%d", i)}}); err != nil {
				return fmt.Errorf("add a bridge: %w", err)
			}
		}
		return nil
	})
	links := 0
	must(t, dump(routeSocket(t, ns), unix.RTM_GETLINK, anyFamily, func(m *syscall.NetlinkMessage) error {
		if m.Header.Type == unix.RTM_NEWLINK {
			links++
		}
		return nil
	}))
	if links != count+1 {
		t.Errorf("%d links, want %d", links, count+1)
	}
}

func TestErrorsOfTheKernel(t *testing.T) {
	sock := routeSocket(t, newNetNS(t, nil))
	// No such request: the kernel answers with an error message.
	if _, err := readTable(sock, 0xff<<2|2, anyFamily, 1); err == nil {
		t.Error("an unknown request was answered")
	}
	// And the socket is still good.
	if _, err := readTable(sock, unix.RTM_GETLINK, anyFamily, 2); err != nil {
		t.Error(err)
	}
}
