package bridge

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// neighbour is a machine on a wire with the node, which is its router.
type neighbour struct {
	ns *os.File
	// own and node are the addresses of the two ends, IPv4 and IPv6.
	own, node [2]netip.Addr
	// mac and nodeMAC are the hardware addresses of the two ends; link is the neighbour's.
	mac, nodeMAC net.HardwareAddr
	link         int
}

// newNeighbour makes the neighbour number i: 192.0.2.0/24's and 2001:db8::/64's like, with i in the third and the fourth part.
func newNeighbour(t testing.TB, i int) *neighbour {
	t.Helper()
	n := &neighbour{ns: newNetNS(t)}
	v4 := func(host int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("192.0.%d.%d", i, host)) }
	v6 := func(host int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("2001:db8:%d::%d", i, host)) }
	n.node, n.own = [2]netip.Addr{v4(1), v6(1)}, [2]netip.Addr{v4(2), v6(2)}
	name := fmt.Sprintf("wire%d", i)
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "wire", PeerNamespace: netlink.NsFd(int(n.ns.Fd()))}
	must(t, netlink.LinkAdd(pair))
	t.Cleanup(func() { netlink.LinkDel(pair) })
	arrived, theirs := watch(t, nil), watch(t, n.ns)
	n.nodeMAC = end(t, name, n.node)
	inside(t, n.ns, func() error {
		n.mac = end(t, "wire", n.own)
		wire, err := netlink.LinkByName("wire")
		if err != nil {
			return err
		}
		n.link = wire.Attrs().Index
		for _, gateway := range n.node {
			if err := netlink.RouteAdd(&netlink.Route{LinkIndex: n.link, Gw: net.IP(gateway.AsSlice())}); err != nil {
				return err
			}
		}
		return nil
	})
	must(t, errors.Join(arrived.awaitUp(name), arrived.awaitAddress(n.node[1])))
	must(t, errors.Join(theirs.awaitUp("wire"), theirs.awaitAddress(n.own[1])))
	return n
}

// watch listens to changes of links in the namespace.
func watch(t testing.TB, ns *os.File) *routeSocket {
	t.Helper()
	var s *routeSocket
	inside(t, ns, func() (err error) {
		s, err = openRoute()
		return err
	})
	t.Cleanup(s.close)
	must(t, s.watch())
	return s
}

func end(t testing.TB, name string, addresses [2]netip.Addr) net.HardwareAddr {
	t.Helper()
	link, err := netlink.LinkByName(name)
	must(t, err)
	for i, bits := range []int{24, 64} {
		a, err := netlink.ParseAddr(netip.PrefixFrom(addresses[i], bits).String())
		must(t, err)
		a.Flags = unix.IFA_F_NODAD
		must(t, netlink.AddrAdd(link, a))
	}
	// Else the link can't resolve an address for its first second.
	must(t, write(conf6, []setting{{name + "/accept_dad", "0"}}))
	must(t, netlink.LinkSetUp(link))
	return link.Attrs().HardwareAddr
}

// send puts a frame on the link, in the namespace.
func send(t testing.TB, ns *os.File, link int, to, from net.HardwareAddr, etherType uint16, packet []byte) {
	t.Helper()
	frame := append(append(append([]byte{}, to...), from...), byte(etherType>>8), byte(etherType))
	frame = append(frame, packet...)
	inside(t, ns, func() error {
		s, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(s)
		return unix.Sendto(s, frame, 0, &unix.SockaddrLinklayer{Ifindex: link})
	})
}

// ipv4 makes an IPv4 packet.
func ipv4(from, to netip.Addr, protocol Protocol, payload []byte) []byte {
	size := 20 + len(payload)
	h := []byte{0x45, 0, byte(size >> 8), byte(size), 0, 1, 0, 0, 64, byte(protocol), 0, 0}
	h = append(append(h, from.AsSlice()...), to.AsSlice()...)
	sum := checksum(h)
	h[10], h[11] = byte(sum>>8), byte(sum)
	return append(h, payload...)
}

// udp makes a UDP datagram without a checksum, which IPv4 allows.
func udp(from, to uint16, payload string) []byte {
	size := 8 + len(payload)
	return append([]byte{byte(from >> 8), byte(from), byte(to >> 8), byte(to), byte(size >> 8), byte(size), 0, 0}, payload...)
}

func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(b[i]) << 8
		if i+1 < len(b) {
			sum += uint32(b[i+1])
		}
	}
	for sum>>16 > 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
