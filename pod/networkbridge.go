package pod

import (
	"context"
	"fmt"
	"net/netip"

	"podlet/internal/network/bridge"
	"podlet/pod/spec"
)

// Bridge is the built-in [Network].
type Bridge struct{ *bridge.Network }

// Add is [Network]'s.
func (b Bridge) Add(ctx context.Context, p NetworkPod, netns NetNS) (*Attachment, error) {
	ports, err := bridgePorts(p.Spec.Ports)
	if err != nil {
		return nil, err
	}
	limits, err := p.Spec.Bandwidth()
	if err != nil {
		return nil, err
	}
	r, err := b.Network.Add(ctx, p.ID, netns, bridge.Want{Ports: ports, Limits: bridge.Limits{ToPod: limits.Ingress, FromPod: limits.Egress}})
	if err != nil {
		return nil, err
	}
	return &Attachment{IPs: r.IPs, Gateways: r.Gateways, MAC: r.MAC.String(), HostLink: r.HostLink}, nil
}

// Leave is [Network]'s: what lies in the namespace goes with it.
func (b Bridge) Leave(context.Context, NetworkPod) error { return nil }

// SetPodCIDRs is [Network]'s: the subnets are the bridge's own configuration, as addresses that are in use depend on them.
func (b Bridge) SetPodCIDRs([]netip.Prefix) error { return nil }

// Describe is [Network]'s.
func (b Bridge) Describe() any { return map[string]string{"network": "bridge"} }

// Remove is [Network]'s.
func (b Bridge) Remove(ctx context.Context, p NetworkPod) error { return b.Network.Remove(ctx, p.ID) }

// Recover is [Network]'s.
func (b Bridge) Recover(ctx context.Context, pods []NetworkPod) error {
	ids := make([]string, 0, len(pods))
	for _, p := range pods {
		ids = append(ids, p.ID)
	}
	_, err := b.Network.Recover(ctx, ids)
	return err
}

func bridgePorts(ports []spec.PortMapping) ([]bridge.PortMapping, error) {
	var list []bridge.PortMapping
	for _, p := range ports {
		protocol, ok := bridge.ParseProtocol(p.Protocol)
		if !ok {
			return nil, fmt.Errorf("%w: host port %d: protocol %q", ErrInvalid, p.HostPort, p.Protocol)
		}
		list = append(list, bridge.PortMapping{Protocol: protocol, HostIP: p.HostIP, HostPort: p.HostPort, PodPort: p.PodPort})
	}
	return list, nil
}
