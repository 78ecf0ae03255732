package main

import (
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestCNIPlugins runs a pod with Debian's bridge, host-local, portmap and bandwidth plugins: two families, a host port, a limit, and nothing left.
func TestCNIPlugins(t *testing.T) {
	needPlugins(t)
	n := cniNode(t, "")
	subnets := n.cniSubnets()
	n.configure("10-test.conflist", n.cniBridge(subnets...))
	n.soon("the configuration is read", func() bool { return n.condition().Status })
	p := n.newPod(port(&cri.PortMapping{HostPort: 8200, ContainerPort: 80}), func(c *cri.PodSandboxConfig) {
		c.Annotations = map[string]string{"kubernetes.io/ingress-bandwidth": "10M", "kubernetes.io/egress-bandwidth": "20M"}
	})
	ips := n.addresses(p.id)
	if len(ips) != 2 || !within(subnets[0], ips[0]) || !within(subnets[1], ips[1]) {
		t.Fatalf("addresses %q", ips)
	}
	n.echo(p.id, 80, "echo")
	n.reaches("tcp", joined(ips[0], 80), "echo")
	n.reaches("tcp", "127.0.0.1:8200", "echo")
	other := n.newPod(sharing(userNS))
	n.in(other.id, func() error {
		n.reaches("tcp", joined(ips[0], 80), "echo")
		return nil
	})
	// The limit on what the pod sends is on a link of its own, which DEL finds by the pod's namespace.
	if links := linksNamed(t, "bwp"); len(links) != 1 {
		t.Errorf("links of the bandwidth plugin: %q", links)
	}
	if got := n.cniLeases(); len(got) != 4 {
		t.Errorf("leases %q", got)
	}
	if got := n.attachments(); !slices.Contains(got, p.id) || len(got) != 2 {
		t.Errorf("attachments %q", got)
	}
	for range 2 {
		n.stopPod(p.id)
	}
	if got := n.addresses(p.id); len(got) > 0 {
		t.Errorf("a stopped pod has %q", got)
	}
	if err := refused("127.0.0.1:8200"); err != nil {
		t.Errorf("after the pod's stop: %v", err)
	}
	n.removePods()
	if links := append(linksNamed(t, "bwp"), linksNamed(t, "veth")...); len(links) > 0 {
		t.Errorf("links %q", links)
	}
	if got := n.cniLeases(); len(got) != 0 {
		t.Errorf("leases %q", got)
	}
	if got := n.attachments(); len(got) != 0 {
		t.Errorf("attachments %q", got)
	}
}

// linksNamed are the node's links whose names begin so.
func linksNamed(t *testing.T, prefix string) []string {
	t.Helper()
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range links {
		if strings.HasPrefix(l.Name, prefix) {
			names = append(names, l.Name)
		}
	}
	return names
}

// TestCNIAppears: a node without a configuration has podlet's own network, and CNI's for new pods from when there is one; each pod goes as it came.
func TestCNIAppears(t *testing.T) {
	needPlugins(t)
	n := cniNode(t, "", "--network", "auto")
	early := n.newPod()
	if got := n.addresses(early.id); len(got) != 2 || !n.subnets()[0].Contains(addr(got[0])) {
		t.Errorf("before: %q", got)
	}
	if d := n.described(); d["network"] != "bridge" {
		t.Errorf("%v", d)
	}
	subnet := n.cniSubnets()[0]
	n.configure("10-test.conflist", n.cniBridge(subnet))
	n.soon("the configuration is read", func() bool { return n.described()["network"] == "cni" })
	late := n.newPod()
	if got := n.addresses(late.id); len(got) != 1 || !within(subnet, got[0]) {
		t.Errorf("after: %q", got)
	}
	n.terminate()
	n.start()
	if got := n.addresses(early.id); len(got) != 2 {
		t.Errorf("after a restart: %q", got)
	}
	if got := n.addresses(late.id); len(got) != 1 {
		t.Errorf("after a restart: %q", got)
	}
	n.unconfigure("10-test.conflist")
	n.soon("the configuration is missed", func() bool { return !n.condition().Status })
	_, err := n.RunPodSandbox(n.ctx(), &cri.RunPodSandboxRequest{Config: n.sandbox("none")})
	if err == nil || !strings.Contains(err.Error(), n.cniConf()) {
		t.Errorf("a pod without a configuration: %v", err)
	}
	n.stopPod(late.id)
	n.stopPod(early.id)
	if got := n.leases(); len(got) > 0 {
		t.Errorf("leases %q", got)
	}
	if got := n.cniLeases(); len(got) > 0 {
		t.Errorf("CNI leases %q", got)
	}
}

// TestCNIIsDemanded: without a configuration no pod comes up, and the reason names the directory.
func TestCNIIsDemanded(t *testing.T) {
	n := cniNode(t, "")
	if c := n.condition(); c.Status || c.Reason != "NetworkPluginNotReady" || !strings.Contains(c.Message, n.cniConf()) {
		t.Errorf("%v", c)
	}
	_, err := n.RunPodSandbox(n.ctx(), &cri.RunPodSandboxRequest{Config: n.sandbox("none")})
	if err == nil || !strings.Contains(err.Error(), n.cniConf()) {
		t.Errorf("%v", err)
	}
	// One in the node's network needs none.
	n.newPod(sharing(func(o *cri.NamespaceOption) { o.Network = cri.NamespaceMode_NODE }))
	if _, err := os.Stat(n.dir + "/state/network"); err == nil {
		t.Error("the built-in network was made")
	}
}

// TestNetworkIsChanged starts podlet with another --network: pods stay with what added them, and it is told of their end.
func TestNetworkIsChanged(t *testing.T) {
	n := tinyNode(t, "1.0.0")
	plugged := n.newPod()
	restart := func(network string) {
		t.Helper()
		n.terminate()
		n.flags = append(n.flags, "--network", network)
		n.start()
	}
	restart("bridge")
	bridged := n.newPod()
	if got := n.addresses(bridged.id); len(got) != 2 || !n.subnets()[0].Contains(addr(got[0])) {
		t.Errorf("a new pod has %q", got)
	}
	if got := n.addresses(plugged.id); len(got) != 3 {
		t.Errorf("the old pod has %q", got)
	}
	restart("none")
	if got := n.addresses(n.newPod().id); len(got) > 0 {
		t.Errorf("a new pod has %q", got)
	}
	for _, want := range []string{"pods have addresses of CNI plugins from an earlier", "pods have addresses of the built-in network from an earlier"} {
		if !strings.Contains(n.log(), want) {
			t.Errorf("podlet does not say that %s", want)
		}
	}
	restart("cni")
	n.stopPod(bridged.id)
	if got := n.leases(); len(got) > 0 {
		t.Errorf("leases %q", got)
	}
	restart("bridge")
	n.stopPod(plugged.id)
	if got := n.tinyCalls("DEL " + plugged.id); got != 1 {
		t.Errorf("%d DELs", got)
	}
	n.terminate()
	for _, c := range []struct {
		args  []string
		names []string
	}{
		{[]string{"--network", "x"}, []string{"--network", `"x"`, "auto, bridge, cni or none"}},
		{[]string{"--bridge", "none", "--network", "bridge"}, []string{"--network none"}},
		{[]string{"--cni-conf-dir", "x"}, []string{"--cni-conf-dir", `"x"`}},
		{[]string{"--cni-bin-dirs", ""}, []string{"--cni-bin-dirs"}},
		{[]string{"--cni-timeout", "90"}, []string{"--cni-timeout", `"90"`}},
	} {
		dir := t.TempDir()
		cmd := exec.Command("/proc/self/exe", append([]string{"serve", "--listen", "unix://" + dir + "/socket", "--root", dir + "/root", "--state", dir + "/state"}, c.args...)...)
		cmd.Env = append(os.Environ(), asPodlet+"=1")
		out, err := cmd.CombinedOutput()
		for _, want := range c.names {
			if err == nil || !strings.Contains(string(out), want) {
				t.Errorf("%q: %v, %q does not have %q", c.args, err, out, want)
			}
		}
	}
	n.start()
}
