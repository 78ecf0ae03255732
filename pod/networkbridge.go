package pod

import (
	"context"
	"fmt"
	"os"

	"podlet/internal/network/bridge"
	"podlet/pod/spec"
)

// Bridge is the built-in [Network].
type Bridge struct{ *bridge.Network }

// Add is [Network]'s.
func (b Bridge) Add(ctx context.Context, p NetworkPod, netns *os.File) (*Attachment, error) {
	ports, err := bridgePorts(p.Spec.Ports)
	if err != nil {
		return nil, err
	}
	r, err := b.Network.Add(ctx, p.ID, netns, ports)
	if err != nil {
		return nil, err
	}
	return &Attachment{IPs: r.IPs, Gateways: r.Gateways, MAC: r.MAC.String(), HostLink: r.HostLink}, nil
}

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
