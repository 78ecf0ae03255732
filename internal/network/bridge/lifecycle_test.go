package bridge

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestOneFamily: a pod without IPv6 has not even a link-local address, and one without IPv4 works.
func TestOneFamily(t *testing.T) {
	for _, subnet := range []netip.Prefix{subnet4, subnet6} {
		t.Run(subnet.String(), func(t *testing.T) {
			n := openNetwork(t, testConfig(t, subnet))
			a, b := addPod(t, n, PortMapping{Protocol: TCP, HostPort: 8080, PodPort: 80}), addPod(t, n)
			serve(t, a.ns, "tcp", ":80", "a")
			expect(t, "pod to pod", b.ns, "tcp", a.at(0, 80), "a "+b.IPs[0].String())
			expect(t, "host port", b.ns, "tcp", at(n.gateways()[0], 8080), "a "+n.gateways()[0].String())
			if len(a.IPs) != 1 || !subnet.Contains(a.IPs[0]) {
				t.Errorf("addresses %v", a.IPs)
			}
			inside(t, a.ns, func() error {
				link, err := netlink.LinkByName(podLink)
				if err != nil {
					return err
				}
				if l := link.Attrs(); l.HardwareAddr.String() != a.MAC.String() || l.Flags&net.FlagUp == 0 || l.MTU != defaultMTU {
					t.Errorf("eth0: %+v, Add said %s", l, a.MAC)
				}
				addresses, err := listAddresses(link)
				if err != nil {
					return err
				}
				var ips []netip.Addr
				for _, address := range addresses {
					ip := toPrefix(address.IPNet).Addr()
					if subnet == subnet4 && ip.Is6() {
						t.Errorf("an IPv4 pod has %s", ip)
					}
					if address.Scope == unix.RT_SCOPE_UNIVERSE {
						ips = append(ips, ip)
					}
				}
				if !slices.Equal(ips, a.IPs) {
					t.Errorf("eth0 has %v, Add said %v", ips, a.IPs)
				}
				return nil
			})
		})
	}
}

// TestDroppedNamespace: Remove does nothing about the link, and the last reference to the namespace takes it.
func TestDroppedNamespace(t *testing.T) {
	n := openNetwork(t, testConfig(t, subnet4, subnet6))
	news, stop := make(chan netlink.LinkUpdate, 64), make(chan struct{})
	must(t, netlink.LinkSubscribe(news, stop))
	defer func() {
		close(stop)
		for range news {
		}
	}()
	id, ns := newID(), dropped(t)
	r, err := n.Add(t.Context(), id, there(ns), Want{})
	must(t, err)
	began := time.Now()
	must(t, n.Remove(t.Context(), id))
	if _, err := netlink.LinkByName(r.HostLink); err != nil && time.Since(began) < strayTime {
		t.Errorf("after Remove: %v", err)
	}
	must(t, ns.Close())
	for u := range news {
		if u.Header.Type == unix.RTM_DELLINK && u.Attrs().Name == r.HostLink {
			return
		}
	}
	t.Error("the kernel's news of links have ended")
}

func TestRemoveTwice(t *testing.T) {
	n := openNetwork(t, testConfig(t, subnet4))
	a := addPod(t, n, PortMapping{Protocol: UDP, HostPort: 53, PodPort: 53})
	for range 2 {
		must(t, n.Remove(t.Context(), a.id))
	}
	must(t, n.Remove(t.Context(), newID()))
	must(t, n.Remove(t.Context(), ""))
	var all sync.WaitGroup
	b := addPod(t, n, PortMapping{Protocol: UDP, HostPort: 53, PodPort: 53})
	for range 4 {
		all.Go(func() {
			if err := n.Remove(context.Background(), b.id); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// TestFailedAdd: after each kind of failure the next Add has the next address, and no link, lease, port or rule is left.
func TestFailedAdd(t *testing.T) {
	n := openNetwork(t, testConfig(t, netip.MustParsePrefix("10.88.0.0/29"), subnet6))
	udp := PortMapping{Protocol: UDP, HostPort: 53, PodPort: 53}
	holder := addPod(t, n, PortMapping{Protocol: TCP, HostPort: 80, PodPort: 80})
	null, err := os.Open("/dev/null")
	must(t, err)
	defer null.Close()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	full := newNetNS(t)
	inside(t, full, func() error { return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: podLink}}) })
	routed := newNetNS(t)
	inside(t, routed, func() error {
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "other", Flags: 1}}); err != nil {
			return err
		}
		link, err := netlink.LinkByName("other")
		if err != nil {
			return err
		}
		return errors.Join(netlink.LinkSetUp(link), netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}}))
	})
	good := newNetNS(t)
	for _, c := range []struct {
		name  string
		ctx   context.Context
		id    string
		ns    *os.File
		ports []PortMapping
		want  string
	}{
		{"no namespace", t.Context(), newID(), null, []PortMapping{udp}, "setns"},
		{"eth0 is there", t.Context(), newID(), full, []PortMapping{udp}, "veth"},
		{"a default route is there", t.Context(), newID(), routed, []PortMapping{udp}, "default route"},
		{"cancelled", cancelled, newID(), good, []PortMapping{udp}, "canceled"},
		{"port taken", t.Context(), newID(), good, []PortMapping{udp, {TCP, n.gateways()[0], 80, 80}}, "host port is taken"},
		{"another pod has the link's name", t.Context(), holder.id[:12] + newID()[:52], good, nil, "veth"},
		{"twice", t.Context(), holder.id, good, nil, "lease already"},
		{"path for an id", t.Context(), "../../etc/passwd", good, nil, "pod id"},
		{"empty id", t.Context(), "", good, nil, "pod id"},
		{"port 0", t.Context(), newID(), good, []PortMapping{{TCP, netip.Addr{}, 0, 1}}, "1 to 65535"},
		{"pod port 0", t.Context(), newID(), good, []PortMapping{{TCP, netip.Addr{}, 1, 0}}, "1 to 65535"},
		{"ICMP", t.Context(), newID(), good, []PortMapping{{1, netip.Addr{}, 1, 1}}, "none of tcp"},
		{"::1", t.Context(), newID(), good, []PortMapping{{TCP, netip.IPv6Loopback(), 1, 1}}, "127.0.0.1"},
		{"IPv4 in IPv6", t.Context(), newID(), good, []PortMapping{{TCP, netip.MustParseAddr("::ffff:1.2.3.4"), 1, 1}}, "IPv6 form"},
		{"port twice in a pod", t.Context(), newID(), good, []PortMapping{udp, {UDP, netip.IPv4Unspecified(), 53, 54}}, "same to some client"},
	} {
		_, err := n.Add(c.ctx, c.id, there(c.ns), Want{Ports: c.ports})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", c.name, err, c.want)
		}
		if got := n.list(); len(got) != 1 {
			t.Errorf("%s: %d leases are left", c.name, len(got)-1)
		}
		if names, err := readNames(string(n.leases)); err != nil || len(names) != 1 {
			t.Errorf("%s: files %q, %v", c.name, names, err)
		}
		if _, err := netlink.LinkByName(holder.HostLink); err != nil {
			t.Fatalf("%s: the link of another pod: %v", c.name, err)
		}
		if len(c.id) == 64 && c.id[:12] != holder.id[:12] {
			if _, err := netlink.LinkByName(hostLink(c.id)); err == nil {
				t.Errorf("%s: a link is left", c.name)
			}
		}
		if missing, err := n.table.missing(n.withOpenPorts()); err != nil || missing != "" {
			t.Errorf("%s: rules: %q, %v", c.name, missing, err)
		}
	}
	// All addresses and the port can be had.
	for range 4 {
		var ports []PortMapping
		if len(n.list()) == 1 {
			ports = []PortMapping{udp}
		}
		addPod(t, n, ports...)
	}
	if _, err := n.Add(t.Context(), newID(), there(good), Want{}); !errors.Is(err, ErrExhausted) {
		t.Errorf("the sixth pod of five addresses: %v", err)
	}
}

// TestTwoPodlets: two with directories and bridges of their own share a node; one in the other's place is refused.
func TestTwoPodlets(t *testing.T) {
	first, second := testConfig(t, subnet4, subnet6), testConfig(t, netip.MustParsePrefix("10.89.0.0/16"), netip.MustParsePrefix("fd00:89::/64"))
	second.Bridge = "podbr1"
	n, m := openNetwork(t, first), openNetwork(t, second)
	a := addPod(t, n, PortMapping{Protocol: TCP, HostPort: 8080, PodPort: 80})
	b := addPod(t, m, PortMapping{Protocol: TCP, HostPort: 8081, PodPort: 80})
	serve(t, a.ns, "tcp", ":80", "a")
	serve(t, b.ns, "tcp", ":80", "b")
	expect(t, "the first's port", nil, "tcp", "127.0.0.1:8080", "a "+n.gateways()[0].String())
	expect(t, "the second's port", nil, "tcp", "127.0.0.1:8081", "b "+m.gateways()[0].String())
	// For the first network the second's pods are outside, so its own are masqueraded.
	expect(t, "from one bridge to the other's port", a.ns, "tcp", at(n.gateways()[1], 8081), "b "+m.gateways()[1].String())

	other := testConfig(t, netip.MustParsePrefix("10.90.0.0/16"))
	for _, c := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"the same directory", Config{Dir: first.Dir, Bridge: "podbr2", Subnets: other.Subnets}, ErrInUse.Error()},
		{"the same bridge", Config{Dir: other.Dir, Bridge: first.Bridge, Subnets: other.Subnets}, "not of this podlet"},
		{"a part of its subnet", Config{Dir: other.Dir, Bridge: "podbr2", Subnets: []netip.Prefix{netip.MustParsePrefix("10.88.7.0/24")}}, "overlaps"},
		{"a link that is no bridge", Config{Dir: other.Dir, Bridge: "lo", Subnets: other.Subnets}, "not of this podlet"},
	} {
		if _, err := Open(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", c.name, err, c.want)
		}
	}
	expect(t, "after all that", nil, "tcp", "127.0.0.1:8080", "a "+n.gateways()[0].String())
}

func TestConfig(t *testing.T) {
	good := testConfig(t, subnet4, subnet6)
	for want, change := range map[string]func(*Config){
		"not absolute":     func(c *Config) { c.Dir = "net" },
		"name":             func(c *Config) { c.Bridge = "../lo" },
		"MTU":              func(c *Config) { c.MTU = 100 },
		"no subnet":        func(c *Config) { c.Subnets = nil },
		"bits set":         func(c *Config) { c.Subnets = []netip.Prefix{netip.MustParsePrefix("10.88.0.1/16")} },
		"within /8":        func(c *Config) { c.Subnets = []netip.Prefix{netip.MustParsePrefix("10.88.0.0/30")} },
		"within /48":       func(c *Config) { c.Subnets = []netip.Prefix{netip.MustParsePrefix("fd00::/32")} },
		"of one family":    func(c *Config) { c.Subnets = []netip.Prefix{subnet4, subnet4} },
		"without masquera": func(c *Config) { c.NoMasquerade = []netip.Prefix{{}} },
	} {
		c := good
		change(&c)
		if _, err := Open(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
}

// TestRestart: pods of an earlier podlet go on talking, keep their ports, and are taken back.
func TestRestart(t *testing.T) {
	cfg := testConfig(t, subnet4, subnet6)
	n, err := Open(cfg)
	must(t, err)
	a := addPod(t, n, PortMapping{Protocol: TCP, HostPort: 8080, PodPort: 80})
	b := addPod(t, n)
	serve(t, a.ns, "tcp", ":80", "a")
	must(t, n.Close())
	expect(t, "without podlet", b.ns, "tcp", a.at(0, 80), "a "+b.IPs[0].String())
	expect(t, "without podlet", nil, "tcp", "127.0.0.1:8080", "a "+n.gateways()[0].String())
	n = openNetwork(t, cfg)
	expect(t, "with the next podlet", nil, "tcp", "127.0.0.1:8080", "a "+n.gateways()[0].String())
	if _, err := n.Add(t.Context(), newID(), there(newNetNS(t)), Want{Ports: []PortMapping{{Protocol: TCP, HostPort: 8080, PodPort: 80}}}); !errors.Is(err, ErrPortTaken) {
		t.Errorf("the port of an earlier podlet's pod: %v", err)
	}
	removed, err := n.Recover(t.Context(), []string{a.id})
	must(t, err)
	if len(removed) != 1 || removed[0] != b.id {
		t.Errorf("recovered %q, want %q", removed, b.id)
	}
	must(t, n.Remove(t.Context(), a.id))
	if got, err := ask(nil, "tcp", "127.0.0.1:8080"); !isRefused(err) {
		t.Errorf("the port of a removed pod: %q, %v", got, err)
	}
}

// TestCheck: others flush rules, switch forwarding off and delete the bridge.
func TestCheck(t *testing.T) {
	n := openNetwork(t, testConfig(t, subnet4, subnet6))
	out := newNeighbour(t, 2)
	a := addPod(t, n, PortMapping{Protocol: TCP, HostPort: 8080, PodPort: 80})
	serve(t, a.ns, "tcp", ":80", "a")
	for name, harm := range map[string]func() error{
		"nothing": func() error { return nil },
		"rules": func() error {
			c, err := nftables.New()
			if err != nil {
				return err
			}
			c.FlushRuleset()
			return c.Flush()
		},
		"one map": func() error {
			c, err := nftables.New()
			if err != nil {
				return err
			}
			c.FlushSet(n.table.families(n.table.table())[0].hostPort)
			return c.Flush()
		},
		"one chain": func() error {
			c, err := nftables.New()
			if err != nil {
				return err
			}
			c.FlushChain(&nftables.Chain{Name: "prerouting", Table: n.table.table()})
			return c.Flush()
		},
		"forwarding": func() error {
			return errors.Join(os.WriteFile(forward4, []byte("0"), 0), os.WriteFile(forward6, []byte("0"), 0))
		},
		"bridge": func() error {
			link, err := netlink.LinkByName(n.cfg.Bridge)
			if err != nil {
				return err
			}
			return netlink.LinkDel(link)
		},
		"bridge's address": func() error {
			link, err := netlink.LinkByName(n.cfg.Bridge)
			if err != nil {
				return err
			}
			address, err := netlink.ParseAddr("10.88.0.1/16")
			if err != nil {
				return err
			}
			return netlink.AddrDel(link, address)
		},
	} {
		must(t, harm())
		must(t, n.Check(t.Context()))
		for i := range 2 {
			if name == "bridge" {
				// The links come up by themselves, and a packet may be lost meanwhile.
				askFrom(out.ns, "tcp", "", at(out.node[i], 8080), 5*time.Second)
			}
			expect(t, "after harm to "+name, out.ns, "tcp", at(out.node[i], 8080), "a "+out.own[i].String())
		}
	}
	// An Add and a Remove after a flush put the rules right by themselves.
	c, err := nftables.New()
	must(t, err)
	c.FlushRuleset()
	must(t, c.Flush())
	b := addPod(t, n, PortMapping{Protocol: TCP, HostPort: 8081, PodPort: 80})
	expect(t, "the other pod's port", out.ns, "tcp", at(out.node[0], 8080), "a "+out.own[0].String())
	c.FlushRuleset()
	must(t, c.Flush())
	must(t, n.Remove(t.Context(), b.id))
	expect(t, "the other pod's port", out.ns, "tcp", at(out.node[0], 8080), "a "+out.own[0].String())
}

// TestForwardingRestored: what the node had before is there again, and a node that lives by router advertisements goes on doing so meanwhile.
func TestForwardingRestored(t *testing.T) {
	newNeighbour(t, 2)
	newNeighbour(t, 3)
	switches := map[string][2]string{ // before, and with the network
		forward4: {"0", "1"}, forward6: {"0", "1"}, conf6 + "/wire2/accept_ra": {"1", "2"}, conf6 + "/wire3/accept_ra": {"0", "0"},
		conf6 + "/default/accept_ra": {"1", "1"},
	}
	must(t, write(conf6, []setting{{"wire3/accept_ra", "0"}}))
	expectSwitches := func(when string, i int) {
		t.Helper()
		for path, want := range switches {
			if got, err := read(path); err != nil || got != want[i] {
				t.Errorf("%s: %s is %q, %v, want %q", when, path, got, err, want[i])
			}
		}
	}
	expectSwitches("before", 0)
	cfg := testConfig(t, subnet4, subnet6)
	for range 2 {
		n, err := Open(cfg)
		must(t, err)
		expectSwitches("open", 1)
		must(t, n.Close())
		expectSwitches("closed", 1)
	}
	n, err := Open(cfg)
	must(t, err)
	a := addPod(t, n)
	must(t, n.Remove(t.Context(), a.id))
	must(t, n.takeDown())
	expectSwitches("deleted", 0)
	if _, err := os.Stat(cfg.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory: %v", err)
	}
	// A second network that goes first leaves the first one's forwarding alone.
	first := openNetwork(t, cfg)
	second := testConfig(t, netip.MustParsePrefix("10.89.0.0/16"))
	second.Dir, second.Bridge = filepath.Join(t.TempDir(), "second"), "podbr1"
	other, err := Open(second)
	must(t, err)
	must(t, other.takeDown())
	expectSwitches("with the first still there", 1)
	_ = first
}
