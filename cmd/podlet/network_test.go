package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// joined joins an address and a port.
func joined(address string, port int) string { return net.JoinHostPort(address, fmt.Sprint(port)) }

// web serves a page that has the pod's name in it.
func web() *cri.ContainerConfig {
	c := container("web", "/bin/probe", "listen", ":8080")
	c.Image.Image = tools
	return c
}

// fetch has a container ask for that page until there is a server.
func (n *node) fetch(container, address string, port int) string {
	n.t.Helper()
	out, code := n.exec(container, "sh", "-c", "for i in $(seq 400); do /bin/probe get "+joined(address, port)+" /show 2>/tmp/error && exit; sleep 0.05; done; cat /tmp/error; exit 1")
	if code != 0 {
		n.t.Errorf("%s: %q, %d", joined(address, port), out, code)
		return ""
	}
	var page struct{ Hostname string }
	if err := json.Unmarshal([]byte(out), &page); err != nil {
		n.t.Errorf("%s: %q, %v", joined(address, port), out, err)
	}
	return page.Hostname
}

// TestPodNetwork: each kind of pod has the addresses that its status tells on its eth0, and they lead to others and from there.
func TestPodNetwork(t *testing.T) {
	atNode, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer atNode.Close()
	go func() {
		for {
			c, err := atNode.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(c, "HTTP/1.0 200 OK\r\n\r\n{\"Hostname\": \"node\"}")
			c.Close()
		}
	}()
	for _, k := range kinds {
		if !k.own {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			n := commonNode(t)
			other := n.newPod(func(c *cri.PodSandboxConfig) { c.Hostname = "other" })
			other.start(web())
			theirs := n.addresses(other.id)
			sandbox := n.sandbox(k.name, sharing(k.change))
			pod := n.run(sandbox)
			app := n.startIn(pod, sandbox, n.like(sandbox, web()))
			ips := n.addresses(pod)
			if len(ips) != 2 {
				t.Fatalf("addresses %q", ips)
			}
			for i, subnet := range n.subnets() {
				if a := netip.MustParseAddr(ips[i]); !subnet.Contains(a) {
					t.Errorf("%s is not of %s", a, subnet)
				}
				out, _ := n.exec(app, "ip", "address", "show", "dev", "eth0")
				if want := fmt.Sprintf("%s/%d ", ips[i], subnet.Bits()); !strings.Contains(out, want) {
					t.Errorf("eth0 lacks %s:\n%s", want, out)
				}
				if got := n.fetch(app, theirs[i], 8080); got != "other" {
					t.Errorf("the other pod's page is %q", got)
				}
				if got := n.fetch(app, n.gateways()[i].String(), atNode.Addr().(*net.TCPAddr).Port); got != "node" {
					t.Errorf("the node's page is %q", got)
				}
				if got := n.fetch(app, ips[i], 8080); got != k.name {
					t.Errorf("the pod's own page is %q", got)
				}
				if c, err := net.DialTimeout("tcp", joined(ips[i], 8080), hangTime); err != nil {
					t.Errorf("from the node: %v", err)
				} else {
					c.Close()
				}
				if out, code := n.exec(app, "grep", "-x", ips[i]+"\t"+k.name, "/etc/hosts"); code != 0 {
					hosts, _ := n.exec(app, "cat", "/etc/hosts")
					t.Errorf("/etc/hosts: %s, %d:\n%s", out, code, hosts)
				}
			}
			if out, _ := n.exec(app, "cat", "/proc/sys/net/ipv6/conf/eth0/accept_ra"); out != "0\n" {
				t.Errorf("accept_ra of eth0 is %q", out)
			}
			n.tellsNetwork(pod, ips)
		})
	}
}

// tellsNetwork wants the network in the verbose part of the status.
func (n *node) tellsNetwork(pod string, ips []string) {
	n.t.Helper()
	r, err := n.PodSandboxStatus(n.ctx(), &cri.PodSandboxStatusRequest{PodSandboxId: pod, Verbose: true})
	if err != nil {
		n.t.Fatal(err)
	}
	var seen struct {
		Network struct {
			IPs, Gateways []string
			MAC, HostLink string
		} `json:"network"`
	}
	if err := json.Unmarshal([]byte(r.Info["info"]), &seen); err != nil {
		n.t.Fatal(err)
	}
	if !slices.Equal(seen.Network.IPs, ips) || len(seen.Network.Gateways) != 2 {
		n.t.Errorf("verbose: %+v, want %q", seen, ips)
	}
	if link, err := net.InterfaceByName(seen.Network.HostLink); err != nil || link.Flags&net.FlagUp == 0 {
		n.t.Errorf("link %q of the node: %v, %v", seen.Network.HostLink, link, err)
	}
	n.in(pod, func() error {
		eth0, err := net.InterfaceByName("eth0")
		if err == nil && eth0.HardwareAddr.String() != seen.Network.MAC {
			err = fmt.Errorf("eth0 has %s, not %s", eth0.HardwareAddr, seen.Network.MAC)
		}
		return err
	})
}

// TestHostPorts: a port of the node leads to the pod from the node and, by way of the node, from the pod itself; it is the pod's alone as long
// as the pod is there.
func TestHostPorts(t *testing.T) {
	n := commonNode(t)
	ports := func(c *cri.PodSandboxConfig) {
		c.PortMappings = []*cri.PortMapping{
			{HostPort: 8080, ContainerPort: 80},
			{HostPort: 8080, ContainerPort: 80}, // twice is once
			{HostPort: 8053, ContainerPort: 80, Protocol: cri.Protocol_UDP},
			{HostPort: 8081, ContainerPort: 80, HostIp: "127.0.0.1"},
			{ContainerPort: 9090},
		}
	}
	p := n.newPod(ports)
	n.echo(p.id, 80, "echo")
	for _, a := range []string{"127.0.0.1", n.gateways()[0].String(), n.gateways()[1].String()} {
		n.reaches("tcp", joined(a, 8080), "echo")
		n.reaches("udp", joined(a, 8053), "echo")
	}
	n.reaches("tcp", "127.0.0.1:8081", "echo")
	for _, a := range []string{joined(n.gateways()[0].String(), 8081), "127.0.0.1:8082", "127.0.0.1:9090", "[::1]:8080"} {
		if err := refused(a); err != nil {
			t.Errorf("%s: %v, want a refusal", a, err)
		}
	}
	n.in(p.id, func() error {
		for _, gateway := range n.gateways() {
			n.reaches("tcp", joined(gateway.String(), 8080), "echo")
			n.reaches("udp", joined(gateway.String(), 8053), "echo")
		}
		return nil
	})
	_, err := n.RunPodSandbox(n.ctx(), &cri.RunPodSandboxRequest{Config: n.sandbox("late", port(&cri.PortMapping{HostPort: 8080, ContainerPort: 1}))})
	n.fails(err, codes.FailedPrecondition, "tcp host port 8080", "taken", p.id)
	if got := n.leases(); len(got) != 1 {
		t.Errorf("leases %q", got)
	}
	n.stopPod(p.id)
	if err := refused("127.0.0.1:8080"); err != nil {
		t.Errorf("after the pod's stop: %v, want a refusal", err)
	}
	late := n.newPod(ports)
	n.echo(late.id, 80, "late")
	n.reaches("tcp", "127.0.0.1:8080", "late")
	n.reaches("udp", "127.0.0.1:8053", "late")
}

func (n *node) stopPod(pod string) {
	n.t.Helper()
	if _, err := n.StopPodSandbox(n.ctx(), &cri.StopPodSandboxRequest{PodSandboxId: pod}); err != nil {
		n.t.Fatalf("StopPodSandbox: %v", err)
	}
}

// TestFullName: a pod whose host name has a domain finds itself by both its names.
func TestFullName(t *testing.T) {
	n := commonNode(t)
	const full = "web.sub.space.svc.cluster.test"
	p := n.newPod(func(c *cri.PodSandboxConfig) { c.Hostname = full })
	app := p.start(container("app", "sleep", "1000"))
	out, code := n.exec(app, "sh", "-c", "hostname; hostname -s; hostname -f; hostname -d; grep web /etc/hosts")
	want := full + "\nweb\n" + full + "\nsub.space.svc.cluster.test\n"
	for _, ip := range n.addresses(p.id) {
		want += ip + "\t" + full + " web\n"
	}
	if out != want || code != 0 {
		t.Errorf("%d, %q, want %q", code, out, want)
	}
}

// TestHostNetworkHasNoAddresses: a pod in the node's network has nothing of its own, and its ports are the node's.
func TestHostNetworkHasNoAddresses(t *testing.T) {
	n := commonNode(t)
	p := n.newPod(sharing(func(o *cri.NamespaceOption) { o.Network = cri.NamespaceMode_NODE }), port(&cri.PortMapping{HostPort: 8080, ContainerPort: 8080}))
	if ips := n.addresses(p.id); len(ips) > 0 {
		t.Errorf("addresses %q", ips)
	}
	if got := n.leases(); len(got) > 0 {
		t.Errorf("leases %q", got)
	}
}

// TestSysctlsOfANetworkedPod: those of the pod are in force with its network there, also those of its links.
func TestSysctlsOfANetworkedPod(t *testing.T) {
	n := commonNode(t)
	want := map[string]string{
		"net.ipv4.conf.eth0.rp_filter": "2", "net.ipv6.conf.eth0.accept_ra": "2", "net.ipv4.ip_local_port_range": "20000\t30000", "net.ipv4.conf.all.log_martians": "1",
	}
	p := n.newPod(func(c *cri.PodSandboxConfig) { c.Linux.Sysctls = want })
	app := p.start(container("app", "sleep", "1000"))
	for name, value := range want {
		if out, _ := n.exec(app, "cat", "/proc/sys/"+strings.ReplaceAll(name, ".", "/")); strings.TrimSpace(out) != value {
			t.Errorf("%s is %q, want %q", name, out, value)
		}
	}
	without := n.newPod(func(c *cri.PodSandboxConfig) {
		c.Linux.Sysctls = map[string]string{"net.ipv6.conf.all.disable_ipv6": "1"}
	})
	n.in(without.id, func() error {
		text, err := os.ReadFile("/proc/thread-self/net/if_inet6")
		if err == nil && len(text) > 0 {
			err = fmt.Errorf("a pod that wants no IPv6 has %s", text)
		}
		return err
	})
	_, err := n.RunPodSandbox(n.ctx(), &cri.RunPodSandboxRequest{Config: n.sandbox("absent", func(c *cri.PodSandboxConfig) {
		c.Linux.Sysctls = map[string]string{"net.ipv4.conf.eth7.rp_filter": "1"}
	})})
	n.fails(err, codes.Unknown, "net/ipv4/conf/eth7/rp_filter")
}
