package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestNetworkOutlivesPodlet kills podlet: connections go on, new ones are made, and the next podlet knows who has what.
func TestNetworkOutlivesPodlet(t *testing.T) {
	n := newNode(t)
	p := n.newPod(port(&cri.PortMapping{HostPort: 8090, ContainerPort: 80}))
	other := n.newPod()
	n.echo(p.id, 80, "echo")
	ips, leases := n.addresses(p.id), n.leases()
	old := n.talk("127.0.0.1:8090", "echo")
	n.kill()
	for i := range 3 {
		fmt.Fprintf(old, "line %d\n", i)
		n.hears(old, fmt.Sprintf("line %d\n", i))
	}
	n.reaches("tcp", "127.0.0.1:8090", "echo")
	n.reaches("tcp", joined(ips[1], 80), "echo")
	n.start()
	fmt.Fprintf(old, "still\n")
	n.hears(old, "still\n")
	n.reaches("tcp", "127.0.0.1:8090", "echo")
	if got := n.addresses(p.id); !slices.Equal(got, ips) {
		t.Errorf("after the restart the pod has %q, before %q", got, ips)
	}
	if got := n.leases(); !slices.Equal(got, leases) {
		t.Errorf("after the restart there are the leases %q, before %q", got, leases)
	}
	third := n.newPod()
	for _, ip := range n.addresses(third.id) {
		if slices.Contains(ips, ip) || slices.Contains(n.addresses(other.id), ip) {
			t.Errorf("%s was given out twice", ip)
		}
	}
	n.stopPod(p.id)
	if err := refused("127.0.0.1:8090"); err != nil {
		t.Errorf("after the pod's stop: %v, want a refusal", err)
	}
	if c := n.condition(); !c.Status {
		t.Errorf("%v", c)
	}
}

// TestLeaseOfALostPod: what no record speaks of is taken back by the next podlet.
func TestLeaseOfALostPod(t *testing.T) {
	n := newNode(t)
	p := n.newPod()
	n.kill()
	stray := n.dir + "/state/network/leases/" + strings.Repeat("ab", 32) + "@" + n.gateways()[0].Next().Next().String()
	if err := os.WriteFile(stray, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n.start()
	if got := n.leases(); len(got) != 1 || !strings.HasPrefix(got[0], p.id) {
		t.Errorf("leases %q", got)
	}
}

// TestAddressesAreGivenBack: whatever became of a pod's pause and its namespace's pin, StopPodSandbox gives its addresses back, once and for all.
func TestAddressesAreGivenBack(t *testing.T) {
	for _, c := range []struct {
		name string
		harm func(n *node, p *testPod)
		// ready: the pod is ready still.
		ready bool
	}{
		{"nothing", func(*node, *testPod) {}, true},
		{"pause killed", func(n *node, p *testPod) { unix.Kill(n.seenPod(p.id).PID, unix.SIGKILL) }, false},
		{"pin gone", func(n *node, p *testPod) { unpinByHand(n, p) }, true},
		{"pin and file gone", func(n *node, p *testPod) {
			unpinByHand(n, p)
			if err := os.Remove("/var/run/netns/" + p.id); err != nil {
				n.t.Fatal(err)
			}
		}, true},
		{"both", func(n *node, p *testPod) {
			unpinByHand(n, p)
			unix.Kill(n.seenPod(p.id).PID, unix.SIGKILL)
		}, false},
		{"lease gone", func(n *node, _ *testPod) {
			for _, l := range n.leases() {
				if err := os.Remove(n.dir + "/state/network/leases/" + l); err != nil {
					n.t.Fatal(err)
				}
			}
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := commonNode(t)
			p := n.newPod(port(&cri.PortMapping{HostPort: 8100, ContainerPort: 80}))
			app := p.start(container("app", "sleep", "1000"))
			ips := n.addresses(p.id)
			c.harm(n, p)
			if !c.ready {
				n.soon("the sandbox is not ready", func() bool {
					r, err := n.PodSandboxStatus(n.ctx(), &cri.PodSandboxStatusRequest{PodSandboxId: p.id})
					return err == nil && r.Status.State == cri.PodSandboxState_SANDBOX_NOTREADY
				})
			}
			if len(ips) != 2 {
				t.Errorf("addresses %q", ips)
			}
			if c.name == "pause killed" {
				n.keepsNetwork(p.id, ips)
			}
			for range 2 {
				n.stopPod(p.id)
				if got := n.addresses(p.id); len(got) > 0 {
					t.Errorf("a stopped pod has the addresses %q", got)
				}
				if got := n.leases(); len(got) > 0 {
					t.Errorf("a stopped pod has the leases %q", got)
				}
			}
			if s := n.status(app); s.State != cri.ContainerState_CONTAINER_EXITED {
				t.Errorf("%v", s)
			}
			again := n.newPod(port(&cri.PortMapping{HostPort: 8100, ContainerPort: 80}))
			n.echo(again.id, 80, "again")
			n.reaches("tcp", "127.0.0.1:8100", "again")
		})
	}
}

// keepsNetwork: a pod that ended by itself has its namespace and its addresses until StopPodSandbox, so that nobody else gets them, and what the kubelet still
// wants to know of it can be looked at.
func (n *node) keepsNetwork(pod string, ips []string) {
	n.t.Helper()
	if got := n.leases(); len(got) != 1 || !strings.HasPrefix(got[0], pod) {
		n.t.Errorf("leases %q", got)
	}
	if got := n.addresses(pod); !slices.Equal(got, ips) {
		n.t.Errorf("addresses %q, before %q", got, ips)
	}
	n.in(pod, func() error {
		_, err := net.InterfaceByName("eth0")
		return err
	})
	_, err := n.RunPodSandbox(n.ctx(), &cri.RunPodSandboxRequest{Config: n.sandbox("early", port(&cri.PortMapping{HostPort: 8100, ContainerPort: 80}))})
	n.fails(err, codes.FailedPrecondition, "8100", pod)
}

func unpinByHand(n *node, p *testPod) {
	n.t.Helper()
	if err := unix.Unmount("/var/run/netns/"+p.id, unix.MNT_DETACH); err != nil {
		n.t.Fatal(err)
	}
}

// TestBridgeIsDeleted: without a bridge no pod comes up and nothing of it is left; a look at the network's condition mends it, or says what is in the way.
func TestBridgeIsDeleted(t *testing.T) {
	n := newNode(t)
	p := n.newPod()
	n.echo(p.id, 80, "echo")
	before := n.openFiles()
	deleteBridge(t, n.network()[1])
	_, err := n.RunPodSandbox(n.ctx(), &cri.RunPodSandboxRequest{Config: n.sandbox("nobridge", port(&cri.PortMapping{HostPort: 8110, ContainerPort: 80}))})
	n.fails(err, codes.Unknown, "network", "veth")
	if got := n.leases(); len(got) != 1 {
		t.Errorf("leases %q", got)
	}
	pins, _ := os.ReadDir("/var/run/netns")
	for _, pin := range pins {
		if pin.Name() != p.id && slices.Contains(n.pods.ids, pin.Name()) {
			t.Errorf("pin %s", pin.Name())
		}
	}
	changeBridge(t, unix.SIOCBRADDBR, n.network()[1])
	switchLink(t, n.network()[1], unix.IFF_UP)
	if c := n.condition(); c.Status || c.Reason != "NetworkPluginNotReady" || !strings.Contains(c.Message, "not of this podlet") {
		t.Errorf("with a link of others in the bridge's place: %v", c)
	}
	deleteBridge(t, n.network()[1])
	if c := n.condition(); !c.Status {
		t.Errorf("%v", c)
	}
	n.soon("no file more than before", func() bool { return n.openFiles() <= before })
	n.reaches("tcp", joined(n.addresses(p.id)[0], 80), "echo")
	again := n.newPod(port(&cri.PortMapping{HostPort: 8110, ContainerPort: 80}))
	n.echo(again.id, 80, "again")
	n.reaches("tcp", "127.0.0.1:8110", "again")
}

// changeBridge makes or deletes a bridge (linux/sockios.h), which is to be off then; switchLink switches a link on or off.
func changeBridge(t *testing.T, request uintptr, name string) {
	t.Helper()
	onSocket(t, name, func(socket int, _ *unix.Ifreq) error {
		text, err := unix.BytePtrFromString(name)
		if err != nil {
			return err
		}
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(socket), request, uintptr(unsafe.Pointer(text))); errno != 0 {
			return errno
		}
		return nil
	})
}

func switchLink(t *testing.T, name string, flags uint16) {
	t.Helper()
	onSocket(t, name, func(socket int, link *unix.Ifreq) error {
		link.SetUint16(flags)
		return unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, link)
	})
}

func onSocket(t *testing.T, link string, do func(socket int, link *unix.Ifreq) error) {
	t.Helper()
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(socket)
	request, err := unix.NewIfreq(link)
	if err == nil {
		err = do(socket, request)
	}
	if err != nil {
		t.Fatalf("link %s: %v", link, err)
	}
}

func deleteBridge(t *testing.T, name string) {
	t.Helper()
	switchLink(t, name, 0)
	changeBridge(t, unix.SIOCBRDELBR, name)
}

// TestPodletsBesideEachOther: a second podlet with the first one's bridge or subnets ends with an error that says what to choose, and harms nobody.
func TestPodletsBesideEachOther(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	n.echo(p.id, 80, "echo")
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"bridge", []string{"--bridge", n.network()[1], "--pod-subnets", "10.77.0.0/24"}, []string{"--bridge", n.network()[1], "not of this podlet", "choose another"}},
		{"subnets", []string{"--bridge", "podother", "--pod-subnets", n.subnets()[0].String()}, []string{"--pod-subnets", n.subnets()[0].String(), n.network()[1], "choose another"}},
		{"no subnet", []string{"--pod-subnets", "10.77.0.1"}, []string{"--pod-subnets", "10.77.0.1"}},
		{"not a name", []string{"--bridge", "a/b"}, []string{"--bridge", "a/b"}},
		{"masquerade", []string{"--no-masquerade", "x"}, []string{"--no-masquerade", `"x"`}},
	} {
		dir := t.TempDir()
		args := append([]string{"serve", "--listen", "unix://" + dir + "/socket", "--root", dir + "/root", "--state", dir + "/state", "--network", "bridge"}, c.args...)
		cmd := exec.Command("/proc/self/exe", args...)
		cmd.Env = append(os.Environ(), asPodlet+"=1")
		out, err := cmd.CombinedOutput()
		for _, want := range c.want {
			if err == nil || !strings.Contains(string(out), want) {
				t.Errorf("%s: %v, %q does not have %q", c.name, err, out, want)
			}
		}
	}
	n.reaches("tcp", joined(n.addresses(p.id)[0], 80), "echo")
	late := n.newPod()
	n.echo(late.id, 80, "late")
	n.reaches("tcp", joined(n.addresses(late.id)[1], 80), "late")
}
