package pod

import (
	"context"
	"net/netip"

	"podlet/cgroup"
	"podlet/internal/network/cni"
)

// CNI is the [Network] of the node's CNI plugins.
type CNI struct{ *cni.Network }

// Add is [Network]'s.
func (c CNI) Add(ctx context.Context, p NetworkPod, netns NetNS) (*Attachment, error) {
	s := p.Spec
	limits, err := s.Bandwidth()
	if err != nil {
		return nil, err
	}
	pod := cni.Pod{
		ID: p.ID, Namespace: s.Namespace, Name: s.Name, UID: s.UID, NetNS: p.NetNS,
		Annotations: s.Annotations, DNS: cni.DNS(s.DNS), Bandwidth: cni.Bandwidth(limits),
		Pinned: func(ctx context.Context) error {
			_, err := netns(ctx)
			return err
		},
	}
	if s.CgroupParent != cgroup.DefaultParent {
		pod.CgroupParent = s.CgroupParent // else it is all pods'
	}
	for _, m := range s.Ports {
		port := cni.PortMapping{HostPort: m.HostPort, ContainerPort: m.PodPort, Protocol: m.Protocol}
		if m.HostIP.IsValid() {
			port.HostIP = m.HostIP.String()
		}
		pod.Ports = append(pod.Ports, port)
	}
	r, err := c.Network.Add(ctx, pod)
	if err != nil {
		return nil, err
	}
	return &Attachment{Network: r.Network, IPs: r.IPs, Gateways: r.Gateways, MAC: r.MAC}, nil
}

// Leave is [Network]'s.
func (c CNI) Leave(ctx context.Context, p NetworkPod) error { return c.Network.Leave(ctx, p.ID) }

// Remove is [Network]'s: Leave has done it.
func (c CNI) Remove(context.Context, NetworkPod) error { return nil }

// Recover is [Network]'s.
func (c CNI) Recover(_ context.Context, pods []NetworkPod) error {
	var ids []string
	for _, p := range pods {
		ids = append(ids, p.ID)
	}
	c.Network.Recover(ids)
	return nil
}

// SetPodCIDRs is [Network]'s.
func (c CNI) SetPodCIDRs(list []netip.Prefix) error { return c.Network.SetPodCIDRs(list) }

// Describe is [Network]'s.
func (c CNI) Describe() any { return map[string]any{"network": "cni", "cni": c.Network.Describe()} }
