package pod

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"podlet/pod/etcfiles"
)

// etcFiles are the pod's hosts, hostname and resolv.conf. A pod in the node's network has the node's own, and one that was given no
// name has the node's, as its UTS namespace is a copy of the node's.
func (p *Pod) etcFiles() (map[string][]byte, error) {
	name, err := p.hostname()
	if err != nil {
		return nil, err
	}
	hostname, err := etcfiles.Hostname(name)
	if err != nil {
		return nil, err
	}
	// Its addresses are added once it has them: see nameAddresses.
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

func (p *Pod) hostname() (string, error) {
	if !p.spec.HostNetwork && p.spec.Hostname != "" {
		return p.spec.Hostname, nil
	}
	node, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("read the node's host name: %w", err)
	}
	if etcfiles.CheckHostname(node) != nil {
		return "localhost", nil // nobody named the node, which is "(none)" then
	}
	return node, nil
}

// nameAddresses writes etc/hosts anew, with the pod's name at its addresses, in the pod's tmpfs root.
func (p *Pod) nameAddresses(root *os.File, ips []netip.Addr) error {
	name, err := p.hostname()
	if err != nil {
		return err
	}
	content, err := etcfiles.Hosts(false, name, ips)
	if err != nil {
		return err
	}
	fd, err := unix.Openat(int(root.Fd()), "etc/hosts", unix.O_WRONLY|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open etc/hosts in a pod's tmpfs: %w", err)
	}
	hosts := os.NewFile(uintptr(fd), "etc/hosts")
	defer hosts.Close()
	if _, err := hosts.Write(content); err != nil {
		return fmt.Errorf("write a pod's addresses to its etc/hosts: %w", err)
	}
	return nil
}

func (p *Pod) resolvConf() ([]byte, error) {
	dns := etcfiles.DNS(p.spec.DNS)
	if dns.IsZero() {
		return etcfiles.HostResolvConf("/etc/resolv.conf")
	}
	return etcfiles.ResolvConf(dns)
}
