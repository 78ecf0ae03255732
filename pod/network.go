package pod

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"podlet/internal/network"
	"podlet/pod/spec"
)

// Network gives pods with a network namespace of their own addresses, and a way to and from others. Its methods are safe for
// concurrent use. podlet's built-in one is [Bridge]; [CNI] is that of plugins, [Auto] either.
type Network interface {
	// Add connects a pod's new network namespace. It is called before there is one, makes ready what it can and then waits for it. One that fails or
	// is cancelled leaves nothing that Leave and Remove don't take back.
	Add(ctx context.Context, p NetworkPod, netns NetNS) (*Attachment, error)
	// Leave is called before Remove, when nothing runs in the pod any more and its namespace is still there, as far as it can be: some of what
	// Add gave can only be taken back in there. It can be repeated like Remove.
	Leave(ctx context.Context, p NetworkPod) error
	// Remove takes back what Add gave the pod. What is not there, or not any more, is success, so that it can be repeated. The namespace may be gone.
	Remove(ctx context.Context, p NetworkPod) error
	// Recover is called once, before Add and Remove: what pods have that are not among these, by an earlier podlet's Add, is taken back.
	Recover(ctx context.Context, pods []NetworkPod) error
	// Check says whether pods can be added and talk now; what is amiss and can be put right is. The error is for the node's administrator.
	Check(ctx context.Context) error
	// SetPodCIDRs notes the subnets of the node's pods as the kubelet says them, which it does once and as a hint (CRI NetworkConfig).
	SetPodCIDRs(list []netip.Prefix) error
	// Describe tells of the network for people, as a value that encoding/json takes. It waits for nothing.
	Describe() any
}

// NetworkPod is a pod for its Network.
type NetworkPod struct {
	ID   string
	Spec *spec.Sandbox
	// NetNS is the path of its pin. The namespace is there from when Add's netns returns until after Leave, but for a restart of the node; the path is
	// always set.
	NetNS string
	// Has is what Add gave; nil before Add, and where it isn't known how far Add came.
	Has *Attachment
}

// Attachment is what a pod has got from its Network. It stands in the pod's record.
type Attachment struct {
	// Network is the name of a CNI network; empty: it is the built-in one.
	Network string `json:",omitempty"`
	// IPs are the pod's addresses, the first one the pod's own in its status: IPv4's, or the one that CNI plugins name first. Gateways are those of
	// its next hops.
	IPs, Gateways []netip.Addr
	// MAC is the hardware address of the pod's eth0, HostLink the name of the link's other end on the node; each empty where the network doesn't tell.
	MAC, HostLink string
}

// networked says that the pod gets addresses and ports from the Runtime's Network.
func (p *Pod) networked() bool { return p.rt.cfg.Network != nil && p.spec.OwnNetwork() }

func (p *Pod) forNetwork() NetworkPod {
	p.mu.Lock()
	defer p.mu.Unlock()
	return NetworkPod{ID: p.id, Spec: p.spec, NetNS: p.rt.netns.Path(p.id), Has: p.mu.rec.Network}
}

// checkNetwork refuses what can't be had without a Network.
func (r *Runtime) checkNetwork(s *spec.Sandbox) error {
	if r.cfg.Network == nil && s.OwnNetwork() && len(s.Ports) > 0 {
		return fmt.Errorf("host port %d: %w: podlet serves without a pod network that could map it", s.Ports[0].HostPort, ErrUnsupported)
	}
	return nil
}

// pinNetwork pins the pod's network namespace, so that it outlives pause, and gives it.
func (p *Pod) pinNetwork() (*os.File, error) {
	ns, err := p.openNamespace("net")
	if err != nil {
		return nil, err
	}
	if err := p.rt.netns.Pin(p.id, ns); err != nil {
		ns.Close()
		return nil, err
	}
	return ns, nil
}

func (p *Pod) addToNetwork(ctx context.Context, netns NetNS) error {
	has, err := p.rt.cfg.Network.Add(ctx, p.forNetwork(), netns)
	if err != nil {
		return err
	}
	// The record learns it with the next state.
	p.mu.Lock()
	p.mu.rec.Network = has
	p.mu.Unlock()
	return nil
}

// finishNetwork writes the pod's addresses to etc/hosts in its tmpfs root, and the sysctls of its links. Nothing runs in the pod yet that could
// have changed what lies there.
func (p *Pod) finishNetwork(ctx context.Context, root *os.File, netns NetNS) error {
	if has := p.forNetwork().Has; has != nil {
		if err := p.nameAddresses(root, has.IPs); err != nil {
			return err
		}
	}
	return p.linkSysctls(ctx, netns)
}

// linkSysctls writes the parameters that want the pod's links to be there.
func (p *Pod) linkSysctls(ctx context.Context, netns NetNS) error {
	list, err := p.spec.Sysctls()
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(s spec.Sysctl) bool { return !s.OfLinks() })
	if len(list) == 0 {
		return nil
	}
	ns, err := netns(ctx)
	if err != nil {
		return err
	}
	return network.Inside(ns, func() error {
		for _, s := range list {
			// Below net the kernel shows each thread its own namespace's.
			if err := os.WriteFile("/proc/sys/"+s.Path, []byte(s.Value), 0); err != nil {
				return fmt.Errorf("set sysctl %s: %w", s.Path, err)
			}
		}
		return nil
	})
}

// leaveNetwork takes back what has to be taken back inside the pod's namespace, while there is one.
func (p *Pod) leaveNetwork(ctx context.Context) error {
	if !p.networked() {
		return nil
	}
	return p.rt.cfg.Network.Leave(ctx, p.forNetwork())
}

// removeFromNetwork takes back what the pod has of its Network. From then on the status shows no address. A status that still reads ready, as podlet
// is only learning of the pod's end, keeps them: a ready pod is never shown without.
func (p *Pod) removeFromNetwork(ctx context.Context) error {
	if !p.spec.OwnNetwork() {
		return nil
	}
	// Without a Network there may be what an earlier podlet's gave: it went with the namespace, or is left for one that has it again.
	if p.rt.cfg.Network != nil {
		if err := p.rt.cfg.Network.Remove(ctx, p.forNetwork()); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.rec.Network = nil
	if p.mu.rec.State != PodReady {
		p.publishLocked()
	}
	return nil
}

// recoverNetwork takes back what pods have of the Network that no record speaks of any more.
func (r *Runtime) recoverNetwork(found map[string]*Pod) error {
	if r.cfg.Network == nil {
		return nil
	}
	var pods []NetworkPod
	for _, p := range found {
		if p.networked() {
			pods = append(pods, p.forNetwork())
		}
	}
	return r.cfg.Network.Recover(r.life, pods)
}

// SetPodCIDRs tells the network which subnets the node's pods are to have, as the kubelet says it.
func (r *Runtime) SetPodCIDRs(list []netip.Prefix) error {
	if r.cfg.Network == nil {
		return nil
	}
	return r.cfg.Network.SetPodCIDRs(list)
}

// DescribeNetwork tells of the pods' network for a person to read; nil without one.
func (r *Runtime) DescribeNetwork() any {
	if r.cfg.Network == nil {
		return nil
	}
	return r.cfg.Network.Describe()
}

// CheckNetwork says whether pods get a network that works; nil also where podlet is to give them none.
func (r *Runtime) CheckNetwork(ctx context.Context) error {
	if r.cfg.Network == nil {
		return nil
	}
	return r.cfg.Network.Check(ctx)
}
