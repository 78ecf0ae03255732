package bridge

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func at(a netip.Addr, port uint16) string { return netip.AddrPortFrom(a, port).String() }

func TestOutside(t *testing.T) {
	cfg := testConfig(t, subnet4, subnet6)
	cfg.NoMasquerade = []netip.Prefix{netip.MustParsePrefix("192.0.3.0/24"), netip.MustParsePrefix("2001:db8:3::/64")}
	n := openNetwork(t, cfg)
	out, direct := newNeighbour(t, 2), newNeighbour(t, 3)
	a := addPod(t, n, PortMapping{Protocol: TCP, HostPort: 8080, PodPort: 80}, PortMapping{Protocol: UDP, HostPort: 8080, PodPort: 80})
	for _, network := range []string{"tcp", "udp"} {
		serve(t, a.ns, network, ":80", "a")
		serve(t, out.ns, network, ":80", "out")
		serve(t, direct.ns, network, ":80", "direct")
		for i := range 2 {
			expect(t, "a client keeps its address", out.ns, network, at(out.node[i], 8080), "a "+out.own[i].String())
			expect(t, "a pod is masqueraded", a.ns, network, at(out.own[i], 80), "out "+out.node[i].String())
			expect(t, "a pod is not masqueraded", a.ns, network, at(direct.own[i], 80), "direct "+a.IPs[i].String())
			expect(t, "the flat network", direct.ns, network, at(a.IPs[i], 80), "a "+direct.own[i].String())
		}
	}
}

// TestBridgedPacketsPassTheRules is how nodes for other networks are set up, and by default most are.
func TestBridgedPacketsPassTheRules(t *testing.T) {
	for _, value := range []string{"0", "1"} {
		var was []string
		for _, name := range []string{"iptables", "ip6tables"} {
			path := "/proc/sys/net/bridge/bridge-nf-call-" + name
			old, err := read(path)
			if err != nil {
				t.Skip("the kernel has no bridge netfilter: ", err)
			}
			was = append(was, old)
			must(t, os.WriteFile(path, []byte(value), 0))
		}
		t.Run(value, TestTraffic)
		for i, name := range []string{"iptables", "ip6tables"} {
			must(t, os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-"+name, []byte(was[i]), 0))
		}
	}
}

func TestHostIP(t *testing.T) {
	n := openNetwork(t, testConfig(t, subnet4, subnet6))
	one, two := newNeighbour(t, 2), newNeighbour(t, 3)
	a := addPod(t, n, PortMapping{TCP, one.node[0], 8080, 80}, PortMapping{TCP, one.node[1], 8080, 80}, PortMapping{TCP, netip.MustParseAddr("127.0.0.1"), 8081, 80})
	b := addPod(t, n, PortMapping{TCP, two.node[0], 8080, 80}, PortMapping{TCP, netip.IPv6Unspecified(), 8081, 80})
	serve(t, a.ns, "tcp", ":80", "a")
	serve(t, b.ns, "tcp", ":80", "b")
	expect(t, "by its address", one.ns, "tcp", at(one.node[0], 8080), "a "+one.own[0].String())
	expect(t, "by its address", one.ns, "tcp", at(one.node[1], 8080), "a "+one.own[1].String())
	expect(t, "the same port at another address", two.ns, "tcp", at(two.node[0], 8080), "b "+two.own[0].String())
	expect(t, "all of IPv6", one.ns, "tcp", at(one.node[1], 8081), "b "+one.own[1].String())
	expect(t, "127.0.0.1 alone", nil, "tcp", "127.0.0.1:8081", "a "+n.gateways()[0].String())
	for _, address := range []string{at(two.node[1], 8080), at(two.node[0], 8081)} {
		if got, err := ask(two.ns, "tcp", address); err == nil {
			t.Errorf("%s has no such port, and answered %q", address, got)
		}
	}
	// The node's ::1 has no host port: refused at once, not lost.
	if got, err := ask(nil, "tcp", "[::1]:8081"); !isRefused(err) {
		t.Errorf("[::1]:8081: %q, %v, want a refusal", got, err)
	}
}

func isRefused(err error) bool {
	return err != nil && unix.ECONNREFUSED == errnoOf(err)
}

// TestCVE_F1: a host port takes what is for the node, not what passes through it (CVE-2025-67499).
func TestCVE_F1(t *testing.T) {
	n := openNetwork(t, testConfig(t, subnet4, subnet6))
	client, server := newNeighbour(t, 2), newNeighbour(t, 3)
	a := addPod(t, n, PortMapping{Protocol: TCP, HostPort: 8080, PodPort: 80})
	serve(t, a.ns, "tcp", ":80", "a")
	serve(t, server.ns, "tcp", ":8080", "server")
	b := addPod(t, n)
	for i := range 2 {
		expect(t, "through the node", client.ns, "tcp", at(server.own[i], 8080), "server "+client.own[i].String())
		expect(t, "from a pod", b.ns, "tcp", at(server.own[i], 8080), "server "+server.node[i].String())
		expect(t, "to the node", client.ns, "tcp", at(client.node[i], 8080), "a "+client.own[i].String())
	}
}

// TestCVE_F2: where a service and a pod have the same port, the service's rule wins (CVE-2019-9946).
func TestCVE_F2(t *testing.T) {
	n := openNetwork(t, testConfig(t, subnet4))
	client := newNeighbour(t, 2)
	a := addPod(t, n, PortMapping{Protocol: TCP, HostPort: 8080, PodPort: 80})
	b := addPod(t, n)
	serve(t, a.ns, "tcp", ":80", "a")
	serve(t, b.ns, "tcp", ":80", "b")
	expect(t, "without a service", client.ns, "tcp", at(client.node[0], 8080), "a "+client.own[0].String())
	c, err := nftables.New()
	must(t, err)
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "fake-kube-proxy"})
	chain := c.AddChain(&nftables.Chain{Name: "services", Table: table, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityNATDest})
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: join(
		[]expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: keyReg}, &expr.Cmp{Op: expr.CmpOpEq, Register: keyReg, Data: []byte{byte(TCP)}}},
		[]expr.Any{&expr.Payload{Base: expr.PayloadBaseTransportHeader, DestRegister: keyReg, Offset: 2, Len: 2}, &expr.Cmp{Op: expr.CmpOpEq, Register: keyReg, Data: port(8080)[:2]}},
		[]expr.Any{&expr.Immediate{Register: keyReg, Data: b.IPs[0].AsSlice()}, &expr.Immediate{Register: dataReg, Data: port(80)[:2]}},
		one(&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: keyReg, RegProtoMin: dataReg}),
	)})
	must(t, c.Flush())
	defer func() {
		c.DelTable(table)
		must(t, c.Flush())
	}()
	expect(t, "with a service", client.ns, "tcp", at(client.node[0], 8080), "b "+client.own[0].String())
}

// TestCVE_F3 sends what claims to be for, or from, the node's loopback address, by the wire and from a pod (CVE-2020-8558). It covers F4, too: a host port
// on 127.0.0.1 is the node's alone.
func TestCVE_F3(t *testing.T) {
	n := openNetwork(t, testConfig(t, subnet4))
	loopback := netip.MustParseAddr("127.0.0.1")
	wire := newNeighbour(t, 2)
	a := addPod(t, n, PortMapping{UDP, loopback, 7001, 80}, PortMapping{UDP, netip.Addr{}, 7002, 80})
	evil := addPod(t, n)
	gateway := n.gateways()[0]
	// Else the kernel itself drops what claims to come from an address of the node. A node with policy routes may have it so.
	must(t, write(conf4, []setting{{n.cfg.Bridge + "/accept_local", "1"}, {n.cfg.Bridge + "/rp_filter", "0"}}))
	index, mac := podEnd(t, evil)
	type sender struct {
		name     string
		ns       *os.File
		link     int
		mac      net.HardwareAddr
		to       net.HardwareAddr
		own, its netip.Addr
	}
	senders := []sender{
		{"wire", wire.ns, wire.link, wire.mac, wire.nodeMAC, wire.own[0], wire.node[0]},
		{"pod", evil.ns, index, mac, hardwareAddress(n.gateways()), evil.IPs[0], gateway},
	}
	node, pod := listen(t, nil, "0.0.0.0:7000"), listen(t, a.ns, "0.0.0.0:80")
	attack := func() {
		for _, s := range senders {
			send(t, s.ns, s.link, s.to, s.mac, unix.ETH_P_IP, ipv4(s.own, loopback, UDP, udp(1, 7000, s.name+" to 127.0.0.1")))
			send(t, s.ns, s.link, s.to, s.mac, unix.ETH_P_IP, ipv4(s.own, loopback, UDP, udp(1, 7001, s.name+" to the port on 127.0.0.1")))
			send(t, s.ns, s.link, s.to, s.mac, unix.ETH_P_IP, ipv4(s.own, s.its, UDP, udp(2, 7001, s.name+" to the port of 127.0.0.1 by another address")))
			send(t, s.ns, s.link, s.to, s.mac, unix.ETH_P_IP, ipv4(loopback, s.its, UDP, udp(3, 7000, s.name+" as 127.0.0.1")))
			// What is let in, to know that the others would have come by now.
			send(t, s.ns, s.link, s.to, s.mac, unix.ETH_P_IP, ipv4(s.own, s.its, UDP, udp(4, 7000, "good")))
			send(t, s.ns, s.link, s.to, s.mac, unix.ETH_P_IP, ipv4(s.own, s.its, UDP, udp(5, 7002, "good")))
		}
	}
	attack()
	for _, c := range []net.PacketConn{node, pod} {
		for range senders {
			if got := receive(t, c); got != "good" {
				t.Errorf("%s: received %q", c.LocalAddr(), got)
			}
		}
	}
	// With the defence off, the same packets do harm: else nothing is tested.
	c, err := nftables.New()
	must(t, err)
	c.FlushChain(&nftables.Chain{Name: "raw", Table: n.table.table()})
	must(t, c.Flush())
	attack()
	if got := receive(t, node); got != "good" && got != "pod to 127.0.0.1" && got != "pod as 127.0.0.1" {
		t.Errorf("received %q", got)
	}
	harm := false
	for range senders {
		harm = harm || receive(t, node) != "good"
	}
	if !harm {
		t.Error("without the rules of chain raw nothing happens either: the test tests nothing")
	}
}

func podEnd(t testing.TB, p *testPod) (index int, mac net.HardwareAddr) {
	t.Helper()
	inside(t, p.ns, func() error {
		link, err := netlink.LinkByName(podLink)
		if err != nil {
			return err
		}
		index, mac = link.Attrs().Index, link.Attrs().HardwareAddr
		return nil
	})
	return index, mac
}

func listen(t testing.TB, ns *os.File, address string) net.PacketConn {
	t.Helper()
	var c net.PacketConn
	inside(t, ns, func() (err error) {
		c, err = net.ListenPacket("udp4", address)
		return err
	})
	t.Cleanup(func() { c.Close() })
	return c
}

func receive(t testing.TB, c net.PacketConn) string {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, 200)
	n, _, err := c.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

// TestCVE_F5: a pod plays router; nobody listens (CVE-2020-10749).
func TestCVE_F5(t *testing.T) {
	n := openNetwork(t, testConfig(t, subnet4, subnet6))
	evil, victim := addPod(t, n), addPod(t, n)
	// A host that listens to advertisements, as a control.
	control := addPod(t, n)
	inside(t, control.ns, func() error { return write(conf6, []setting{{podLink + "/accept_ra", "2"}}) })
	index, mac := podEnd(t, evil)
	before := defaultRoutes(t, nil)
	all := netip.MustParseAddr("ff02::1")
	// A link that comes later, as those of other runtimes' pods: that the node has become a router is all the more reason not to listen there.
	late := newNeighbour(t, 2)
	// One that comes while a link isn't quite up is lost, so they are sent again and again.
	for deadline := time.Now().Add(time.Minute); len(defaultRoutes(t, control.ns)) < 2; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the control has no route by the advertisement: it is no good one")
		}
		send(t, late.ns, late.link, net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, late.mac, unix.ETH_P_IPV6, advertisement(netip.MustParseAddr("fe80::bad"), all))
		send(t, evil.ns, index, net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, mac, unix.ETH_P_IPV6, advertisement(netip.MustParseAddr("fe80::bad"), all))
	}
	if after := defaultRoutes(t, nil); len(after) != len(before) {
		t.Errorf("the node has a new default route: %v", after)
	}
	if got := defaultRoutes(t, victim.ns); len(got) != 1 || got[0] != n.gateways()[1].String() {
		t.Errorf("the victim's default routes: %v", got)
	}
	for _, ns := range []*os.File{nil, victim.ns} {
		link := podLink
		if ns == nil {
			link = n.cfg.Bridge
		}
		inside(t, ns, func() error {
			for _, s := range quietV6(link) {
				if got, err := read(conf6 + "/" + s.name); err != nil || got != s.value {
					return fmt.Errorf("%s is %q, %v", s.name, got, err)
				}
			}
			return nil
		})
	}
	if got, _ := read(conf6 + "/" + victim.HostLink + "/disable_ipv6"); got != "1" {
		t.Errorf("IPv6 on the node's end: disable_ipv6 is %q", got)
	}
}

func defaultRoutes(t testing.TB, ns *os.File) []string {
	t.Helper()
	var list []string
	inside(t, ns, func() error {
		routes, err := dump(func() ([]netlink.Route, error) { return netlink.RouteList(nil, netlink.FAMILY_V6) })
		for _, r := range routes {
			if r.Dst == nil || r.Dst.IP.IsUnspecified() && r.Gw != nil {
				list = append(list, r.Gw.String())
			}
		}
		return err
	})
	return list
}

// advertisement makes a router advertisement (RFC 4861) with a lifetime of half an hour.
func advertisement(from, to netip.Addr) []byte {
	body := []byte{134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0}
	pseudo := append(append(append([]byte{}, from.AsSlice()...), to.AsSlice()...), 0, 0, 0, byte(len(body)), 0, 0, 0, unix.IPPROTO_ICMPV6)
	sum := checksum(append(pseudo, body...))
	body[2], body[3] = byte(sum>>8), byte(sum)
	head := []byte{0x60, 0, 0, 0, 0, byte(len(body)), unix.IPPROTO_ICMPV6, 255}
	return append(append(append(head, from.AsSlice()...), to.AsSlice()...), body...)
}

// TestCVE_F7: a client that never stops sending UDP reaches what has the port now: nobody, a pod, another pod, the node (kubernetes#95258).
func TestCVE_F7(t *testing.T) {
	n := openNetwork(t, testConfig(t, subnet4, subnet6))
	out := newNeighbour(t, 2)
	for i := range 2 {
		t.Run(out.node[i].String(), func(t *testing.T) {
			// One socket, so one connection to the kernel. A bystander's connection must stay tracked.
			from := at(out.own[i], 4444)
			askNode := func() string {
				got, err := askFrom(out.ns, "udp", from, at(out.node[i], 5353), patience)
				if err != nil {
					return "nobody"
				}
				return got
			}
			if got := askNode(); got != "nobody" {
				t.Fatalf("before: %q", got)
			}
			mapping := PortMapping{Protocol: UDP, HostPort: 5353, PodPort: 53}
			for _, name := range []string{"first", "second"} {
				p := addPod(t, n, mapping)
				serve(t, p.ns, "udp", ":53", name)
				n.work.Wait()
				if got := askNode(); got != name+" "+out.own[i].String() {
					t.Errorf("after Add of the %s pod: %q", name, got)
				}
				must(t, n.Remove(t.Context(), p.id))
			}
			serve(t, nil, "udp", at(out.node[i], 5353), "node")
			if got := askNode(); got != "node "+out.own[i].String() {
				t.Errorf("after the pods: %q", got)
			}
		})
	}
}

// TestForget: what is forgotten is what was meant, and nothing else.
func TestForget(t *testing.T) {
	n := openNetwork(t, testConfig(t, subnet4, subnet6))
	out := newNeighbour(t, 2)
	must(t, netlink.ConntrackTableFlush(netlink.ConntrackTable))
	b := addPod(t, n, PortMapping{Protocol: UDP, HostPort: 6000, PodPort: 53})
	serve(t, b.ns, "udp", ":53", "b")
	serve(t, out.ns, "udp", ":5353", "out")
	for i := range 2 {
		expect(t, "to the node", out.ns, "udp", at(out.node[i], 6000), "b "+out.own[i].String())
		expect(t, "by the same port elsewhere", b.ns, "udp", at(out.own[i], 5353), "out "+out.node[i].String())
	}
	count := func() string {
		var s string
		for _, f := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
			flows, err := dump(func() ([]*netlink.ConntrackFlow, error) { return netlink.ConntrackTableList(netlink.ConntrackTable, f) })
			must(t, err)
			for _, flow := range flows {
				if flow.Forward.Protocol == uint8(UDP) {
					s += fmt.Sprintf("%d ", flow.Forward.DstPort)
				}
			}
		}
		return s
	}
	if got := count(); got != "6000 5353 6000 5353 " && got != "5353 6000 5353 6000 " && got != "5353 6000 6000 5353 " && got != "6000 5353 5353 6000 " {
		t.Fatalf("tracked at first: %s", got)
	}
	a := addPod(t, n, PortMapping{Protocol: UDP, HostPort: 5353, PodPort: 53})
	n.work.Wait()
	must(t, n.Remove(t.Context(), a.id))
	if got := len(count()); got != len("6000 5353 6000 5353 ") {
		t.Errorf("tracked after another pod came and went: %s", count())
	}
	must(t, n.Remove(t.Context(), b.id))
	if got := count(); got != "5353 5353 " {
		t.Errorf("tracked after the pod went: %s", got)
	}
}

// TestSCTP sends the first packet of an association, since kernels without SCTP sockets track and translate it all the same.
func TestSCTP(t *testing.T) {
	n := openNetwork(t, testConfig(t, subnet4))
	out := newNeighbour(t, 2)
	a := addPod(t, n, PortMapping{Protocol: SCTP, HostPort: 9000, PodPort: 9001})
	var raw net.PacketConn
	inside(t, a.ns, func() (err error) {
		raw, err = net.ListenPacket("ip4:132", a.IPs[0].String())
		return err
	})
	defer raw.Close()
	chunk := []byte{1, 0, 0, 20, 1, 2, 3, 4, 0, 0, 0xff, 0xff, 0, 1, 0, 1, 0, 0, 0, 1}
	packet := append([]byte{0x30, 0x39, 9000 >> 8, 9000 & 0xff, 0, 0, 0, 0, 0, 0, 0, 0}, chunk...)
	binary.LittleEndian.PutUint32(packet[8:], crc32.Checksum(packet, crc32.MakeTable(crc32.Castagnoli)))
	send(t, out.ns, out.link, out.nodeMAC, out.mac, unix.ETH_P_IP, ipv4(out.own[0], out.node[0], SCTP, packet))
	got := []byte(receive(t, raw))
	if len(got) < 4 || binary.BigEndian.Uint16(got[2:]) != 9001 {
		t.Errorf("the pod received % x", got)
	}
}
