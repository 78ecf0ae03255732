package bridge

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
)

// Lease is what a pod has of a network.
type Lease struct {
	Pod    string
	IPs    []netip.Addr
	Ports  []PortMapping
	Limits Limits
}

// Leases reads the leases in a network's directory, ordered by pod, while a podlet serves with it or none does. Without a directory there are none, nor are
// those that are of an earlier boot.
func Leases(dir string) ([]Lease, error) {
	if old, err := ofOtherBoot(dir); err != nil || old {
		return nil, err
	}
	leases, _, err := leaseDir(filepath.Join(dir, leasesDir)).read()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the leases of the pod network: %w", err)
	}
	list := make([]Lease, 0, len(leases))
	for _, l := range leases {
		list = append(list, Lease{Pod: l.pod, IPs: l.addresses(), Ports: l.ports, Limits: l.limits})
	}
	return list, nil
}
