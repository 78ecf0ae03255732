package bridge

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"podlet/internal/network"
)

// visitor is what podlet keeps of a pod's network namespace while it sets that up. Both stay in the namespace where they were made.
type visitor struct {
	route *routeSocket
	// conf is /proc/sys/net/ipv6/conf; nil where the kernel has no IPv6.
	conf *os.File
}

func (v *visitor) close() {
	v.route.close()
	if v.conf != nil {
		v.conf.Close()
	}
}

// visit opens both there.
func visit(netns *os.File) (*visitor, error) {
	var sock, conf int
	err := network.Inside(netns, func() (err error) {
		if sock, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE); err != nil {
			return fmt.Errorf("open a netlink socket in %s: %w", netns.Name(), err)
		}
		conf, err = unix.Open(conf6, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.ENOENT) {
			conf, err = -1, nil
		}
		if err != nil {
			unix.Close(sock)
			return fmt.Errorf("open %s in %s: %w", conf6, netns.Name(), err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	v := &visitor{route: &routeSocket{fd: sock}}
	if conf >= 0 {
		v.conf = os.NewFile(uintptr(conf), conf6)
	}
	return v, nil
}
