package bridge

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// ErrPortTaken says that another pod has the host port.
var ErrPortTaken = errors.New("host port is taken")

// ErrInvalid says that a host port can be had on no node with such a network: the requester's fault.
var ErrInvalid = errors.New("invalid host port")

// Protocol is the number of a transport protocol in an IP header.
type Protocol uint8

// The protocols that a host port may have (CRI Protocol).
const (
	TCP  Protocol = unix.IPPROTO_TCP
	UDP  Protocol = unix.IPPROTO_UDP
	SCTP Protocol = unix.IPPROTO_SCTP
)

// String gives the name in lower case, as in /etc/protocols.
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case SCTP:
		return "sctp"
	}
	return fmt.Sprintf("protocol-%d", uint8(p))
}

// ParseProtocol is the inverse of String.
func ParseProtocol(s string) (Protocol, bool) {
	for _, p := range []Protocol{TCP, UDP, SCTP} {
		if p.String() == s {
			return p, true
		}
	}
	return 0, false
}

// PortMapping sends what reaches a port of the node on to a pod (CRI PortMapping).
type PortMapping struct {
	Protocol Protocol
	// HostIP is the one address of the node that has the port. The zero Addr stands for all of both families, 0.0.0.0 and ::
	// for all of one. ::1 is refused: see the package's documentation.
	HostIP netip.Addr
	// HostPort is the node's and PodPort the pod's, from 1.
	HostPort, PodPort uint16
}

func (m PortMapping) String() string {
	host := "*"
	if m.HostIP.IsValid() {
		host = m.HostIP.String()
	}
	return fmt.Sprintf("%s %s %d %d", m.Protocol, host, m.HostPort, m.PodPort)
}

// serves says whether the mapping is for the node's addresses of the family of a.
func (m PortMapping) serves(a netip.Addr) bool {
	return a.IsValid() && (!m.HostIP.IsValid() || m.HostIP.Is4() == a.Is4())
}

// everywhere: the mapping is for all addresses of its family or families.
func (m PortMapping) everywhere() bool { return !m.HostIP.IsValid() || m.HostIP.IsUnspecified() }

// overlaps says whether a packet can be meant by both mappings.
func (m PortMapping) overlaps(o PortMapping) bool {
	if m.Protocol != o.Protocol || m.HostPort != o.HostPort {
		return false
	}
	if !m.HostIP.IsValid() || !o.HostIP.IsValid() {
		return true
	}
	if m.HostIP.Is4() != o.HostIP.Is4() {
		return false
	}
	return m.HostIP == o.HostIP || m.HostIP.IsUnspecified() || o.HostIP.IsUnspecified()
}

// checkPorts checks what a pod wants by itself. Its mappings may overlap: one address goes before everywhere, by the order of the rules, and the same mapping twice is
// one element of a map. Not so two that are of one rank and lead to different ports.
func (n *Network) checkPorts(ports []PortMapping) error {
	for i, m := range ports {
		if m.Protocol != TCP && m.Protocol != UDP && m.Protocol != SCTP {
			return fmt.Errorf("%w %d: %s is none of tcp, udp and sctp", ErrInvalid, m.HostPort, m.Protocol)
		}
		if m.HostPort == 0 || m.PodPort == 0 {
			return fmt.Errorf("%w %d to port %d: ports are from 1 to 65535", ErrInvalid, m.HostPort, m.PodPort)
		}
		if m.HostIP.Is4In6() || m.HostIP.Zone() != "" {
			return fmt.Errorf("%w %d: host address %s: neither an IPv4 address in IPv6 form nor one with a zone is one to listen on", ErrInvalid, m.HostPort, m.HostIP)
		}
		if m.HostIP == netip.IPv6Loopback() {
			return fmt.Errorf("%w %d: host address ::1: IPv6 can't forward what comes from the loopback address; use 127.0.0.1", ErrInvalid, m.HostPort)
		}
		if m.HostIP.Is4() && n.v4 == nil || m.HostIP.Is6() && n.v6 == nil {
			return fmt.Errorf("%w %d: host address %s: pods have no address of its family, as the network has no such subnet", ErrInvalid, m.HostPort, m.HostIP)
		}
		for _, o := range ports[:i] {
			if m.PodPort != o.PodPort && m.overlaps(o) && m.everywhere() == o.everywhere() {
				return fmt.Errorf("%w: %q and %q of the pod are the same to some client", ErrInvalid, o, m)
			}
		}
	}
	return nil
}

// portKey is what two mappings that overlap have in common.
type portKey struct {
	Protocol
	port uint16
}

// portTable says which pod has which host ports.
type portTable map[portKey][]portHolder

type portHolder struct {
	PortMapping
	pod string
}

func (t portTable) claim(pod string, ports []PortMapping) error {
	for _, m := range ports {
		for _, h := range t[portKey{m.Protocol, m.HostPort}] {
			if h.overlaps(m) {
				return fmt.Errorf("%s host port %d: %w by pod %s", m.Protocol, m.HostPort, ErrPortTaken, h.pod)
			}
		}
	}
	for _, m := range ports {
		k := portKey{m.Protocol, m.HostPort}
		t[k] = append(t[k], portHolder{m, pod})
	}
	return nil
}

func (t portTable) free(pod string, ports []PortMapping) {
	for _, m := range ports {
		k := portKey{m.Protocol, m.HostPort}
		var left []portHolder
		for _, h := range t[k] {
			if h.pod != pod {
				left = append(left, h)
			}
		}
		if t[k] = left; left == nil {
			delete(t, k)
		}
	}
}
