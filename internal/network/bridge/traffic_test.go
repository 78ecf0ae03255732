package bridge

import (
	"net/netip"
	"testing"
)

func TestTraffic(t *testing.T) {
	n := openNetwork(t, testConfig(t, subnet4, subnet6))
	a := addPod(t, n, PortMapping{Protocol: TCP, HostPort: 8080, PodPort: 80}, PortMapping{Protocol: UDP, HostPort: 8080, PodPort: 80})
	b := addPod(t, n)
	for _, network := range []string{"tcp", "udp"} {
		serve(t, a.ns, network, ":80", "a")
		serve(t, b.ns, network, ":80", "b")
		serve(t, nil, network, ":9999", "node")
	}
	for i, gateway := range n.gateways() {
		for _, network := range []string{"tcp", "udp"} {
			expect(t, "node to pod", nil, network, a.at(i, 80), "a "+gateway.String())
			expect(t, "pod to pod", a.ns, network, b.at(i, 80), "b "+a.IPs[i].String())
			expect(t, "pod to node", a.ns, network, netip.AddrPortFrom(gateway, 9999).String(), "node "+a.IPs[i].String())
			hostPort := netip.AddrPortFrom(gateway, 8080).String()
			expect(t, "pod to its own host port", a.ns, network, hostPort, "a "+gateway.String())
			expect(t, "pod to another's host port", b.ns, network, hostPort, "a "+gateway.String())
			expect(t, "node to host port", nil, network, hostPort, "a "+gateway.String())
		}
	}
	expect(t, "node by 127.0.0.1", nil, "tcp", "127.0.0.1:8080", "a "+n.gateways()[0].String())
	expect(t, "node by 127.0.0.1", nil, "udp", "127.0.0.1:8080", "a "+n.gateways()[0].String())
}
