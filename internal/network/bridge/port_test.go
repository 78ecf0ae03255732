package bridge

import (
	"errors"
	"net/netip"
	"testing"
)

// TestPortsOfOnePod: within a pod the mapping of one address goes before that of all, and the same may be said twice; what leads two ways is refused. Between
// pods each of it is a port that is taken.
func TestPortsOfOnePod(t *testing.T) {
	cfg := testConfig(t, subnet4, subnet6)
	n, err := Open(cfg)
	must(t, err)
	out := newNeighbour(t, 2)
	local := netip.MustParseAddr("127.0.0.1")
	every := PortMapping{Protocol: TCP, HostPort: 8080, PodPort: 80}
	ports := []PortMapping{
		every, {TCP, netip.IPv4Unspecified(), 8080, 80}, {TCP, netip.IPv6Unspecified(), 8080, 80},
		{TCP, local, 8080, 81}, {TCP, local, 8080, 81}, {TCP, out.node[1], 8080, 81},
		{TCP, netip.IPv4Unspecified(), 8081, 80}, {TCP, netip.IPv6Unspecified(), 8081, 81},
	}
	a := addPod(t, n, ports...)
	serve(t, a.ns, "tcp", ":80", "eighty")
	serve(t, a.ns, "tcp", ":81", "eighty-one")
	expectAll := func(when string) {
		t.Helper()
		expect(t, when+": on all addresses", out.ns, "tcp", at(out.node[0], 8080), "eighty "+out.own[0].String())
		expect(t, when+": on one, IPv4", nil, "tcp", "127.0.0.1:8080", "eighty-one "+n.gateways()[0].String())
		expect(t, when+": on one, IPv6", out.ns, "tcp", at(out.node[1], 8080), "eighty-one "+out.own[1].String())
		expect(t, when+": another of IPv6", nil, "tcp", at(n.gateways()[1], 8080), "eighty "+n.gateways()[1].String())
		expect(t, when+": IPv4 alone", out.ns, "tcp", at(out.node[0], 8081), "eighty "+out.own[0].String())
		expect(t, when+": IPv6 alone", out.ns, "tcp", at(out.node[1], 8081), "eighty-one "+out.own[1].String())
		if missing, err := n.table.missing(n.withOpenPorts()); err != nil || missing != "" {
			t.Errorf("%s: rules: %q, %v", when, missing, err)
		}
	}
	expectAll("added")
	must(t, n.Close())
	n = openNetwork(t, cfg)
	expectAll("after a restart")
	for _, m := range ports {
		if _, err := n.Add(t.Context(), newID(), there(newNetNS(t)), Want{Ports: []PortMapping{m}}); !errors.Is(err, ErrPortTaken) {
			t.Errorf("%q of another pod: %v", m, err)
		}
	}
	must(t, n.Remove(t.Context(), a.id))
	for _, m := range ports {
		for _, o := range ports {
			o.PodPort = 99
			refused := errors.Is(n.checkPorts([]PortMapping{m, o}), ErrInvalid)
			families := !m.HostIP.IsValid() || !o.HostIP.IsValid() || m.HostIP.Is4() == o.HostIP.Is4()
			want := m.HostPort == o.HostPort && families && m.everywhere() == o.everywhere() && (m.everywhere() || m.HostIP == o.HostIP)
			if refused != want {
				t.Errorf("%q and %q: refused is %t", m, o, refused)
			}
		}
	}
	for _, m := range ports {
		b := addPod(t, n, m)
		must(t, n.Remove(t.Context(), b.id))
	}
}
