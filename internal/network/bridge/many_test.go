package bridge

import (
	"net/netip"
	"testing"
)

// TestManyHostPorts: the rules of a node full of pods with host ports are made anew in one go, as at podlet's start, and found complete.
func TestManyHostPorts(t *testing.T) {
	n := openNetwork(t, testConfig(t, subnet4, subnet6))
	var leases []*lease
	v4, v6 := n.gateways()[0], n.gateways()[1]
	for i := range uint16(3000) {
		v4, v6 = v4.Next(), v6.Next()
		leases = append(leases, &lease{pod: newID(), v4: v4, v6: v6, ports: []PortMapping{
			{Protocol: TCP, HostPort: 20000 + i, PodPort: 80}, {Protocol: UDP, HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: 20000 + i, PodPort: 80},
		}})
	}
	for range 2 {
		must(t, n.table.replace(leases))
		if missing, err := n.table.missing(leases); err != nil || missing != "" {
			t.Errorf("%q, %v", missing, err)
		}
	}
	must(t, n.table.replace(nil))
}
