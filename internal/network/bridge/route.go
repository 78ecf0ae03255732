package bridge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// routeSocket is an rtnetlink socket. It is for one goroutine at a time.
type routeSocket struct {
	fd     int
	buffer []byte
	// up says of each link that the socket heard of whether it carries packets, ready which IPv6 addresses the kernel told of;
	// nil until watch.
	up    map[string]bool
	ready map[netip.Addr]bool
}

func openRoute() (*routeSocket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	return &routeSocket{fd: fd}, nil
}

func (s *routeSocket) close() { unix.Close(s.fd) }

// step is a request with what it does, for the error.
type step struct {
	what string
	*nl.NetlinkRequest
}

// do sends all steps in one message and reads an answer to each. The kernel carries out a step after a failed one, too; the first
// error is told.
func (s *routeSocket) do(steps ...step) error {
	var all []byte
	for i, st := range steps {
		st.Seq = uint32(i + 1)
		st.Flags |= unix.NLM_F_ACK
		all = append(all, st.Serialize()...)
	}
	if err := unix.Sendto(s.fd, all, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("%s: send: %w", steps[0].what, err)
	}
	errs := make([]error, len(steps))
	for left := len(steps); left > 0; {
		messages, err := s.receive()
		if err != nil {
			return fmt.Errorf("%s: %w", steps[len(steps)-left].what, err)
		}
		for _, m := range messages {
			seq := int(m.Header.Seq)
			if m.Header.Type != unix.NLMSG_ERROR || len(m.Data) < 4 || seq < 1 || seq > len(steps) {
				s.hear(m)
				continue
			}
			left--
			if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
				errs[seq-1] = fmt.Errorf("%s: %w", steps[seq-1].what, syscall.Errno(-code))
			}
		}
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *routeSocket) receive() ([]syscall.NetlinkMessage, error) {
	if s.buffer == nil {
		s.buffer = make([]byte, 32<<10)
	}
	for {
		n, from, err := unix.Recvfrom(s.fd, s.buffer, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("receive: %w", err)
		}
		if k, ok := from.(*unix.SockaddrNetlink); !ok || k.Pid != 0 {
			continue // not from the kernel
		}
		return syscall.ParseNetlinkMessage(s.buffer[:n])
	}
}

func text(s string) []byte { return append([]byte(s), 0) }

func u32(n int) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(n)) }

// watch lets the socket hear of changes of links and IPv6 addresses, for awaitUp and awaitAddress.
func (s *routeSocket) watch() error {
	// A socket without an address of its own is taken for the kernel, which doesn't tell itself.
	if err := unix.Bind(s.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("listen to changes of links: bind: %w", err)
	}
	for _, group := range []int{unix.RTNLGRP_LINK, unix.RTNLGRP_IPV6_IFADDR} {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group); err != nil {
			return fmt.Errorf("listen to changes of links: join group %d: %w", group, err)
		}
	}
	s.up, s.ready = map[string]bool{}, map[netip.Addr]bool{}
	return nil
}

// linkIndex gives the number of a link (netdevice(7), SIOCGIFINDEX, which any socket answers for its namespace). Unlike a netlink
// request it waits for nobody.
func (s *routeSocket) linkIndex(name string) (int, error) {
	request, err := unix.NewIfreq(name)
	if err == nil {
		err = unix.IoctlIfreq(s.fd, unix.SIOCGIFINDEX, request)
	}
	if err != nil {
		return 0, fmt.Errorf("look up the number of link %s: %w", name, err)
	}
	return int(request.Uint32()), nil
}

// running says whether a link carries packets, as far as the kernel has come with it (netdevice(7), IFF_RUNNING). Of a link
// that was just made it may say yes too early.
func (s *routeSocket) running(name string) (bool, error) {
	request, err := unix.NewIfreq(name)
	if err == nil {
		err = unix.IoctlIfreq(s.fd, unix.SIOCGIFFLAGS, request)
	}
	if err != nil {
		return false, fmt.Errorf("look at link %s: %w", name, err)
	}
	return request.Uint16()&unix.IFF_RUNNING != 0, nil
}

// awaitUp waits until the kernel has switched the links to carrying packets, which it does by its own worker: until then it drops
// what is sent, and a bridge what comes from the port. The socket has listened since before the links were switched on, so the news can't have been missed.
func (s *routeSocket) awaitUp(names ...string) error {
	if err := s.patience(upTime); err != nil {
		return fmt.Errorf("wait for link %s: %w", names[0], err)
	}
	for _, name := range names {
		for !s.up[name] {
			messages, err := s.receive()
			if errors.Is(err, unix.ENOBUFS) {
				// News was lost among that of many other links.
				if s.up[name], err = s.running(name); err != nil {
					return err
				}
				continue
			}
			if err != nil {
				return fmt.Errorf("wait %s for link %s to come up: %w", upTime, name, err)
			}
			for _, m := range messages {
				s.hear(m)
			}
		}
	}
	return nil
}

// awaitAddress waits until the kernel, by another worker of its own, has joined the multicast group by which neighbours ask for an IPv6
// address: a question that comes before is lost, and asked again only after a second. That is worth waiting for, but not failing for.
func (s *routeSocket) awaitAddress(a netip.Addr) error {
	if err := s.patience(joinTime); err != nil {
		return fmt.Errorf("wait for address %s: %w", a, err)
	}
	for !s.ready[a] {
		messages, err := s.receive()
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOBUFS) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("wait for address %s: %w", a, err)
		}
		for _, m := range messages {
			s.hear(m)
		}
	}
	return nil
}

// patience bounds the time that receive waits.
func (s *routeSocket) patience(d time.Duration) error {
	limit := unix.NsecToTimeval(int64(d))
	return unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
}

// hear notes what the kernel tells of links and addresses.
func (s *routeSocket) hear(m syscall.NetlinkMessage) {
	switch m.Header.Type {
	case unix.RTM_NEWLINK:
		if name, state := readLinkState(m.Data); state != nil {
			s.up[name] = *state == operUp
		}
	case unix.RTM_NEWADDR:
		attrs, err := syscall.ParseNetlinkRouteAttr(&m)
		if err != nil {
			return
		}
		for _, a := range attrs {
			if a.Attr.Type == unix.IFA_ADDRESS {
				address, _ := netip.AddrFromSlice(a.Value)
				s.ready[address] = true
			}
		}
	}
}

// upTime bounds how long a link may take to come up. The kernel does it within microseconds, or at worst once a second for all links together.
const upTime = 5 * time.Second

// joinTime bounds how long an address may take to be ready.
const joinTime = time.Second
