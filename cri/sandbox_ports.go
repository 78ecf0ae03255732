package cri

import (
	"net/netip"
	"slices"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/pod/spec"
)

// protocols are the names of CRI's in the spec.
var protocols = map[cri.Protocol]string{cri.Protocol_TCP: "tcp", cri.Protocol_UDP: "udp", cri.Protocol_SCTP: "sctp"}

// hostPorts takes a sandbox's port mappings into the spec. A kubelet sends the ports that containers declare, host port or not; in
// the node's network they are the node's own, and nothing has to lead there.
func hostPorts(s *spec.Sandbox, mappings []*cri.PortMapping) error {
	for _, m := range mappings {
		port, err := portMapping(m)
		if err != nil {
			return err
		}
		if port.HostPort != 0 && s.OwnNetwork() && !slices.Contains(s.Ports, port) {
			s.Ports = append(s.Ports, port)
		}
	}
	return nil
}

func portMapping(m *cri.PortMapping) (p spec.PortMapping, err error) {
	name, ok := protocols[m.GetProtocol()]
	if !ok {
		return p, invalid("port mapping of host port %d: there is no protocol %d", m.GetHostPort(), m.GetProtocol())
	}
	if m.GetHostPort() < 0 || m.GetHostPort() > 65535 {
		return p, invalid("host port %d is not within 1 and 65535", m.GetHostPort())
	}
	least := int32(1)
	if m.GetHostPort() == 0 {
		least = 0
	}
	if m.GetContainerPort() < least || m.GetContainerPort() > 65535 {
		return p, invalid("container port %d of host port %d is not within 1 and 65535", m.GetContainerPort(), m.GetHostPort())
	}
	p = spec.PortMapping{Protocol: name, HostPort: uint16(m.GetHostPort()), PodPort: uint16(m.GetContainerPort())}
	if m.GetHostIp() == "" {
		return p, nil
	}
	if p.HostIP, err = netip.ParseAddr(m.HostIp); err != nil {
		return p, invalid("host port %d: host_ip %.100q is no IP address", m.HostPort, m.HostIp)
	}
	return p, nil
}
