package spec

import (
	"net/netip"

	"podlet/cgroup"
	"podlet/internal/mount"
)

// Sandbox is a pod as the CRI asks for it (PodSandboxConfig), checked.
type Sandbox struct {
	Name, Namespace, UID string
	Attempt              uint32
	Labels, Annotations  map[string]string
	RuntimeHandler       string

	// Hostname is the UTS name; empty: the node's. At most 64 bytes.
	Hostname string
	// LogDirectory is absolute; empty: containers of the pod have no log.
	LogDirectory string
	DNS          DNS
	// Ports are ports of the node that lead to the pod; only where it has a network of its own.
	Ports        []PortMapping `json:",omitempty"`
	CgroupParent string

	// HostNetwork, HostIPC and HostPID share the node's namespace. HostNetwork shares the UTS namespace too: such a pod has the node's name.
	HostNetwork, HostIPC, HostPID bool
	// SharedPID gives the containers one PID namespace (NamespaceMode POD), whose PID 1 is podlet's.
	SharedPID bool
	// UserNS maps the pod's ids (KEP-127); nil: none.
	UserNS *IDMap

	// RawSysctls are the kernel parameters asked for, by name; see Sysctls.
	RawSysctls map[string]string
	Privileged bool
	// Overhead and Resources are what the kubelet says the pod costs; they are informational in CRI v1.
	Overhead, Resources *cgroup.Resources
}

// DNS is DNSConfig: all empty means the node's own resolv.conf.
type DNS struct {
	Servers, Searches, Options []string
}

// PortMapping leads what reaches a port of the node to the pod (CRI PortMapping).
type PortMapping struct {
	// Protocol is "tcp", "udp" or "sctp".
	Protocol string
	// HostIP is the node's address that has the port; the zero Addr stands for all.
	HostIP netip.Addr
	// HostPort is the node's, PodPort the pod's; both from 1.
	HostPort, PodPort uint16
}

// IDMap is a pod's user namespace: which host ids its ids are.
type IDMap struct {
	UIDs, GIDs []mount.IDMapping
}

// OwnNetwork says that the pod has a network namespace of its own.
func (s *Sandbox) OwnNetwork() bool { return !s.HostNetwork }
