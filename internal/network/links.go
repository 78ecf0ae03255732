package network

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Link is a network interface of a pod.
type Link struct {
	// Index is its number in the namespace, from 1.
	Index int
	Name  string
	// Up says that it is switched on (IFF_UP), Loopback that it is lo.
	Up, Loopback bool
	// MAC is its hardware address; nil where it has none.
	MAC net.HardwareAddr
	// MTU is in bytes.
	MTU int
	// Addresses are in the kernel's order, IPv4 before IPv6, each with its prefix length.
	Addresses []Address
}

// Address is an address of a Link.
type Address struct {
	netip.Prefix
	// Scope is rtnetlink(7)'s: RT_SCOPE_UNIVERSE (0), RT_SCOPE_SITE, RT_SCOPE_LINK, RT_SCOPE_HOST.
	Scope uint8
}

// Links reads the interfaces of the namespace netns, which stays the caller's, ordered by index. It asks the kernel only, and doesn't wait for anything.
func Links(netns *os.File) ([]Link, error) {
	sock, err := routeSocket(netns)
	if err != nil {
		return nil, err
	}
	defer unix.Close(sock)
	links := map[int]*Link{}
	if err := dump(sock, unix.RTM_GETLINK, anyFamily, func(m *syscall.NetlinkMessage) error { return readLink(m, links) }); err != nil {
		return nil, fmt.Errorf("list the links of %s: %w", netns.Name(), err)
	}
	if err := dump(sock, unix.RTM_GETADDR, anyFamily, func(m *syscall.NetlinkMessage) error { return readAddress(m, links) }); err != nil {
		return nil, fmt.Errorf("list the addresses of %s: %w", netns.Name(), err)
	}
	list := make([]Link, 0, len(links))
	for _, l := range links {
		list = append(list, *l)
	}
	slices.SortFunc(list, func(a, b Link) int { return cmp.Compare(a.Index, b.Index) })
	return list, nil
}

// PodIPs gives the addresses by which others reach a pod, for
// PodSandboxStatus: those of global scope on links other than lo, IPv4 before
// IPv6. nil stands for a pod in the host's network, whose status carries no
// address.
func PodIPs(netns *os.File) ([]netip.Addr, error) {
	if netns == nil {
		return nil, nil
	}
	links, err := Links(netns)
	if err != nil {
		return nil, err
	}
	var ips []netip.Addr
	for _, l := range links {
		if l.Loopback {
			continue
		}
		for _, a := range l.Addresses {
			if a.Scope == unix.RT_SCOPE_UNIVERSE {
				ips = append(ips, a.Addr())
			}
		}
	}
	slices.SortStableFunc(ips, func(a, b netip.Addr) int { return cmp.Compare(a.BitLen(), b.BitLen()) })
	return ips, nil
}

// anyFamily is the one byte of struct rtgenmsg, AF_UNSPEC, padded.
var anyFamily = []byte{unix.AF_UNSPEC, 0, 0, 0}

func readLink(m *syscall.NetlinkMessage, links map[int]*Link) error {
	if m.Header.Type != unix.RTM_NEWLINK || len(m.Data) < unix.SizeofIfInfomsg {
		return nil
	}
	// struct ifinfomsg: family, pad, type, index, flags, change.
	index := int(int32(binary.NativeEndian.Uint32(m.Data[4:])))
	flags := binary.NativeEndian.Uint32(m.Data[8:])
	l := &Link{Index: index, Up: flags&unix.IFF_UP != 0, Loopback: flags&unix.IFF_LOOPBACK != 0}
	attrs, err := syscall.ParseNetlinkRouteAttr(m)
	if err != nil {
		return fmt.Errorf("attributes of link %d: %w", index, err)
	}
	for _, a := range attrs {
		switch a.Attr.Type {
		case unix.IFLA_IFNAME:
			l.Name = unix.ByteSliceToString(a.Value)
		case unix.IFLA_MTU:
			l.MTU = int(binary.NativeEndian.Uint32(a.Value))
		case unix.IFLA_ADDRESS:
			if !l.Loopback {
				l.MAC = slices.Clone(a.Value)
			}
		}
	}
	links[index] = l
	return nil
}

func readAddress(m *syscall.NetlinkMessage, links map[int]*Link) error {
	if m.Header.Type != unix.RTM_NEWADDR || len(m.Data) < unix.SizeofIfAddrmsg {
		return nil
	}
	// struct ifaddrmsg: family, prefixlen, flags, scope, index.
	bits, scope, index := int(m.Data[1]), m.Data[3], int(binary.NativeEndian.Uint32(m.Data[4:]))
	l := links[index]
	if l == nil {
		// Made after the links were listed.
		return nil
	}
	attrs, err := syscall.ParseNetlinkRouteAttr(m)
	if err != nil {
		return fmt.Errorf("attributes of an address of link %d: %w", index, err)
	}
	var address netip.Addr
	for _, a := range attrs {
		// IFA_LOCAL is the own end of a point-to-point link, where IFA_ADDRESS is the other one; IPv6 often has IFA_ADDRESS alone.
		if a.Attr.Type == unix.IFA_LOCAL || a.Attr.Type == unix.IFA_ADDRESS && !address.IsValid() {
			address, _ = netip.AddrFromSlice(a.Value)
		}
	}
	if address.IsValid() {
		l.Addresses = append(l.Addresses, Address{netip.PrefixFrom(address, bits), scope})
	}
	return nil
}
