package pod

import (
	"fmt"
	"os"

	"podlet/pod/etcfiles"
)

// etcFiles are the pod's hosts, hostname and resolv.conf. A pod in the node's network has the node's own, and one that was given no
// name has the node's, as its UTS namespace is a copy of the node's.
func (p *Pod) etcFiles() (map[string][]byte, error) {
	name := p.spec.Hostname
	if p.spec.HostNetwork || name == "" {
		node, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("read the node's host name: %w", err)
		}
		name = node
	}
	hostname, err := etcfiles.Hostname(name)
	if err != nil {
		return nil, err
	}
	hosts, err := etcfiles.Hosts(p.spec.HostNetwork, name, nil)
	if err != nil {
		return nil, err
	}
	resolv, err := p.resolvConf()
	if err != nil {
		return nil, err
	}
	return map[string][]byte{"etc/hosts": hosts, "etc/hostname": hostname, "etc/resolv.conf": resolv}, nil
}

func (p *Pod) resolvConf() ([]byte, error) {
	dns := etcfiles.DNS(p.spec.DNS)
	if dns.IsZero() {
		return etcfiles.HostResolvConf("/etc/resolv.conf")
	}
	return etcfiles.ResolvConf(dns)
}
