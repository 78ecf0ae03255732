package main

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// networkCommand runs podlet network with the node's state directory.
func (n *node) networkCommand(args ...string) (string, error) {
	cmd := exec.Command("/proc/self/exe", slices.Concat([]string{"network"}, args, []string{"--state", n.dir + "/state"})...)
	cmd.Env = append(os.Environ(), asPodlet+"=1")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// networkList is podlet network list -o json.
func (n *node) networkList() (list []networkPod) {
	n.t.Helper()
	out, err := n.networkCommand("list", "-o", "json")
	if err == nil {
		err = json.Unmarshal([]byte(out), &list)
	}
	if err != nil {
		n.t.Fatalf("podlet network list: %v, %s", err, out)
	}
	return list
}

// annotated adds an annotation to a pod.
func annotated(name, value string) func(*cri.PodSandboxConfig) {
	return func(c *cri.PodSandboxConfig) {
		if c.Annotations == nil {
			c.Annotations = map[string]string{}
		}
		c.Annotations[name] = value
	}
}

// TestNetworkCommand: the list has the pods' addresses, served or not, and nothing is removed while it is of use, unless by force; the next podlet begins anew.
func TestNetworkCommand(t *testing.T) {
	n := newNode(t)
	p := n.newPod(port(&cri.PortMapping{HostPort: 8120, ContainerPort: 80, HostIp: "127.0.0.1"}),
		annotated("kubernetes.io/ingress-bandwidth", "10M"), annotated("kubernetes.io/egress-bandwidth", "1.5G"))
	n.newPod(sharing(func(o *cri.NamespaceOption) { o.Network = cri.NamespaceMode_NODE }))
	n.echo(p.id, 80, "echo")
	served := n.networkList()
	if len(served) != 1 || served[0].Pod != p.id || served[0].Name != p.config.Metadata.Name || served[0].Namespace != p.config.Metadata.Namespace {
		t.Fatalf("served: %+v", served)
	}
	if ports := served[0].HostPorts; len(ports) != 1 || ports[0] != (networkPort{"tcp", "127.0.0.1", 8120, 80}) || served[0].ToPod != 10e6 || served[0].FromPod != 15e8 {
		t.Errorf("served: %+v", served)
	}
	if got := n.addresses(p.id); len(got) != 2 || got[0] != served[0].IPs[0].String() || got[1] != served[0].IPs[1].String() {
		t.Errorf("the list has %s, the status %s", served[0].IPs, got)
	}
	out, err := n.networkCommand("list")
	for _, want := range []string{p.config.Metadata.Namespace + "/" + p.config.Metadata.Name, p.id[:12], "127.0.0.1:8120->80/tcp", "10 Mbit/s", "1.5 Gbit/s"} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%v, %q lacks %q", err, out, want)
		}
	}
	refuses := func(want string, args ...string) {
		t.Helper()
		if out, err := n.networkCommand(append([]string{"remove"}, args...)...); err == nil || !strings.Contains(out, want) {
			t.Errorf("remove %q: %v, %q lacks %q", args, err, out, want)
		}
		n.reaches("tcp", "127.0.0.1:8120", "echo")
	}
	refuses("stop that podlet first")
	refuses("stop that podlet first", "--force")

	n.kill()
	alone := n.networkList()
	served[0].Namespace, served[0].Name = "", ""
	if a, b := mustJSON(t, alone), mustJSON(t, served); a != b {
		t.Errorf("without podlet the list is %s, with it %s", a, b)
	}
	refuses("--force")
	if out, err := n.networkCommand("remove", "--force"); err != nil {
		t.Fatalf("%v, %s", err, out)
	}
	if _, err := net.InterfaceByName(n.network()[1]); err == nil {
		t.Errorf("bridge %s is left", n.network()[1])
	}
	if got := n.networkList(); len(got) > 0 {
		t.Errorf("left: %+v", got)
	}
	if out, err := n.networkCommand("remove"); err != nil {
		t.Errorf("once more: %v, %s", err, out)
	}

	n.start()
	again := n.newPod(port(&cri.PortMapping{HostPort: 8120, ContainerPort: 80}))
	n.echo(again.id, 80, "again")
	n.reaches("tcp", "127.0.0.1:8120", "again")
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestBandwidthAnnotations: what is no rate is an error that names the annotation, and leaves nothing; in the node's network it has no effect.
func TestBandwidthAnnotations(t *testing.T) {
	n := commonNode(t)
	for _, name := range []string{"kubernetes.io/ingress-bandwidth", "kubernetes.io/egress-bandwidth"} {
		for _, value := range []string{"10 Mbit", "999", "2P", "-1M", ""} {
			_, err := n.RunPodSandbox(n.ctx(), &cri.RunPodSandboxRequest{Config: n.sandbox("fast", annotated(name, value))})
			n.fails(err, codes.InvalidArgument, name)
		}
		n.newPod(annotated(name, "fast"), sharing(func(o *cri.NamespaceOption) { o.Network = cri.NamespaceMode_NODE }))
	}
	if got := n.leases(); len(got) > 0 {
		t.Errorf("leases %q", got)
	}
}
