package etcfiles

import (
	"fmt"
	"net/netip"
	"strings"
)

// Hosts gives the content of /etc/hosts (hosts(5)): the names of the loopback
// addresses and IPv6 multicast groups, and the pod's name at each of its
// addresses, which may be none yet. A name with dots is followed by its first
// label. A pod in the node's network gets a copy of the node's file instead.
//
// Kubelets mount a file of their own over it; it serves those who call the CRI
// otherwise.
func Hosts(hostNetwork bool, hostname string, ips []netip.Addr) ([]byte, error) {
	if hostNetwork {
		return nodeFile("/etc/hosts")
	}
	if err := CheckHostname(hostname); err != nil {
		return nil, err
	}
	names := hostname
	if short, _, long := strings.Cut(hostname, "."); long {
		names += " " + short
	}
	var b strings.Builder
	b.WriteString("127.0.0.1\tlocalhost\n" +
		"::1\tlocalhost ip6-localhost ip6-loopback\n" +
		"fe00::\tip6-localnet\n" +
		"ff00::\tip6-mcastprefix\n" +
		"ff02::1\tip6-allnodes\n" +
		"ff02::2\tip6-allrouters\n")
	for _, ip := range ips {
		if !ip.IsValid() {
			return nil, fmt.Errorf("%w: an address of the pod is empty", ErrInvalid)
		}
		fmt.Fprintf(&b, "%s\t%s\n", ip.Unmap().WithZone(""), names)
	}
	return []byte(b.String()), nil
}
