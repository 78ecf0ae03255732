package cni

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
)

// Pod is a pod for Add.
type Pod struct {
	// ID is its name for plugins (CNI_CONTAINERID), of letters and digits. Namespace, Name and UID are Kubernetes'.
	ID, Namespace, Name, UID string
	// NetNS is where its network namespace is pinned once Pinned has returned, which waits for that; nil: it is now.
	NetNS       string
	Pinned      func(context.Context) error
	Annotations map[string]string
	Ports       []PortMapping
	DNS         DNS
	Bandwidth   Bandwidth
	// CgroupParent is the path of the pod's cgroup, as the convention for the capability "cgroupPath" has it; empty: it has none of its own.
	CgroupParent string
}

// PortMapping leads what reaches a port of the node to the pod, as the convention for the capability "portMappings" has it.
type PortMapping struct {
	HostPort      uint16 `json:"hostPort"`
	ContainerPort uint16 `json:"containerPort"`
	// Protocol is tcp, udp or sctp, HostIP empty for all of the node's addresses.
	Protocol string `json:"protocol"`
	HostIP   string `json:"hostIP,omitempty"`
}

// DNS is what the pod's resolv.conf holds, as the convention for the capability "dns" has it.
type DNS struct {
	Servers  []string `json:"servers,omitempty"`
	Searches []string `json:"searches,omitempty"`
	Options  []string `json:"options,omitempty"`
}

// ipRange is one of the capability "ipRanges".
type ipRange struct {
	Subnet netip.Prefix `json:"subnet"`
}

// The capabilities that podlet has something to say to (https://www.cni.dev/docs/conventions). A plugin gets those that its configuration declares.
const (
	capPorts       = "portMappings"
	capBandwidth   = "bandwidth"
	capDNS         = "dns"
	capRanges      = "ipRanges"
	capCgroup      = "cgroupPath"
	capAnnotations = "io.kubernetes.cri.pod-annotations"
)

// arguments gives CNI_ARGS: what plugins know pods of Kubernetes by.
func (p *Pod) arguments() (string, error) {
	list := []struct{ key, value string }{
		{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", p.Namespace}, {"K8S_POD_NAME", p.Name}, {"K8S_POD_INFRA_CONTAINER_ID", p.ID}, {"K8S_POD_UID", p.UID},
	}
	var pairs []string
	for _, a := range list {
		// Plugins split at these: a name with one in it would be an argument of its own making.
		if strings.ContainsAny(a.value, ";=\n\x00") {
			return "", fmt.Errorf("%w: %s is %.100q, and CNI plugins are given no value with ; = or a line's end in it", ErrInvalid, a.key, a.value)
		}
		pairs = append(pairs, a.key+"="+a.value)
	}
	return strings.Join(pairs, ";"), nil
}

// capabilities gives what the pod asks for, by capability; ranges are the subnets of the node's pods.
func (p *Pod) capabilities(ranges []netip.Prefix) (map[string]json.RawMessage, error) {
	values := map[string]any{}
	if len(p.Ports) > 0 {
		values[capPorts] = p.Ports
	}
	if p.Bandwidth != (Bandwidth{}) {
		values[capBandwidth] = p.Bandwidth.capability()
	}
	if len(p.DNS.Servers)+len(p.DNS.Searches)+len(p.DNS.Options) > 0 {
		values[capDNS] = p.DNS
	}
	if len(ranges) > 0 {
		// One set for each: a pod gets an address of every set.
		var sets [][]ipRange
		for _, r := range ranges {
			sets = append(sets, []ipRange{{r}})
		}
		values[capRanges] = sets
	}
	if p.CgroupParent != "" {
		values[capCgroup] = p.CgroupParent
	}
	if len(p.Annotations) > 0 {
		values[capAnnotations] = p.Annotations
	}
	texts := map[string]json.RawMessage{}
	for capability, v := range values {
		text, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("CNI capability %s: %w", capability, err)
		}
		texts[capability] = text
	}
	return texts, nil
}
