package bridge

import (
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// mtuOf gives the MTU of a link on the node, or in a pod.
func mtuOf(t *testing.T, ns *os.File, name string) int {
	t.Helper()
	if ns == nil {
		link, err := netlink.LinkByName(name)
		must(t, err)
		return link.Attrs().MTU
	}
	var mtu int
	inside(t, ns, func() error {
		link, err := netlink.LinkByName(name)
		if err == nil {
			mtu = link.Attrs().MTU
		}
		return err
	})
	return mtu
}

// TestMTU: bridge and pods have the MTU of the default route, IPv4's before IPv6's, and follow it.
func TestMTU(t *testing.T) {
	four, six := newNeighbour(t, 2), newNeighbour(t, 3)
	uplink := func(name string) netlink.Link {
		link, err := netlink.LinkByName(name)
		must(t, err)
		return link
	}
	wire4, wire6 := uplink("wire2"), uplink("wire3")
	must(t, netlink.LinkSetMTU(wire4, 1400))
	must(t, netlink.LinkSetMTU(wire6, 1350))
	n := openNetwork(t, testConfig(t, subnet4, subnet6))
	before := addPod(t, n)
	follow := func(what string, want int) {
		t.Helper()
		must(t, n.Check(t.Context()))
		p := addPod(t, n)
		for _, got := range []int{mtuOf(t, nil, n.cfg.Bridge), mtuOf(t, nil, p.HostLink), mtuOf(t, p.ns, podLink)} {
			if got != want {
				t.Errorf("%s: MTU %d, want %d", what, got, want)
			}
		}
		serve(t, p.ns, "tcp", ":80", "new")
		expect(t, what, before.ns, "tcp", p.at(0, 80), "new "+before.IPs[0].String())
	}
	follow("no default route", defaultMTU)
	six6 := &netlink.Route{LinkIndex: wire6.Attrs().Index, Gw: net.IP(six.own[1].AsSlice())}
	must(t, netlink.RouteAdd(six6))
	follow("IPv6 alone", 1350)
	four4 := &netlink.Route{LinkIndex: wire4.Attrs().Index, Gw: net.IP(four.own[0].AsSlice())}
	must(t, netlink.RouteAdd(four4))
	follow("IPv4 as well", 1400)
	must(t, netlink.LinkSetMTU(wire4, 9000))
	follow("changed", 9000)
	four4.MTU = 1420
	must(t, netlink.RouteReplace(four4))
	follow("the route's own", 1420)
	must(t, netlink.RouteDel(four4))
	must(t, netlink.RouteDel(six6))
	must(t, netlink.LinkSetMTU(wire4, 600))
	four4.MTU = 0
	must(t, netlink.RouteAdd(four4))
	follow("less than IPv6 needs", leastMTU)
	if got := mtuOf(t, before.ns, podLink); got != defaultMTU {
		t.Errorf("a pod from before has MTU %d", got)
	}

	cfg := testConfig(t, netip.MustParsePrefix("10.89.0.0/16"))
	cfg.Bridge, cfg.MTU = "podbr1", 1444
	fixed := openNetwork(t, cfg)
	if got := mtuOf(t, nil, fixed.cfg.Bridge); got != 1444 {
		t.Errorf("MTU %d of a bridge that is to have 1444", got)
	}
}

// TestMTUOfBogons: where the addresses of documentation are led nowhere, the default route is found all the same, the best of several.
func TestMTUOfBogons(t *testing.T) {
	four, six := newNeighbour(t, 2), newNeighbour(t, 3)
	for name, mtu := range map[string]int{"wire2": 1400, "wire3": 1350} {
		link, err := netlink.LinkByName(name)
		must(t, err)
		must(t, netlink.LinkSetMTU(link, mtu))
	}
	n := openNetwork(t, testConfig(t, subnet4, subnet6))
	wants := func(what string, want int) {
		t.Helper()
		if got, _ := n.uplinkMTU(); got != want {
			t.Errorf("%s: MTU %d, want %d", what, got, want)
		}
	}
	add := func(r netlink.Route) *netlink.Route {
		t.Helper()
		must(t, netlink.RouteAdd(&r))
		t.Cleanup(func() { netlink.RouteDel(&r) })
		return &r
	}
	for _, kind := range []int{unix.RTN_BLACKHOLE, unix.RTN_UNREACHABLE, unix.RTN_PROHIBIT} {
		var made []*netlink.Route
		for _, bogon := range []string{"198.51.100.0/24", "2001:db8:ffff::/48"} {
			_, dst, err := net.ParseCIDR(bogon)
			must(t, err)
			made = append(made, add(netlink.Route{Dst: dst, Type: kind}))
		}
		wants("bogons alone", defaultMTU)
		made = append(made, add(netlink.Route{Gw: net.IP(six.own[1].AsSlice()), Priority: 100}))
		wants("IPv6's default route", 1350)
		made = append(made, add(netlink.Route{Dst: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, Type: unix.RTN_UNREACHABLE, Priority: 300}))
		wants("none of IPv4's that leads anywhere", 1350)
		made = append(made, add(netlink.Route{Gw: net.IP(six.own[0].AsSlice()), Priority: 200}))
		made = append(made, add(netlink.Route{Gw: net.IP(four.own[0].AsSlice()), Priority: 100}))
		wants("IPv4's as well", 1400)
		for _, r := range made {
			must(t, netlink.RouteDel(r))
		}
	}
}
