package main

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"

	"podlet/internal/network/bridge"
	"podlet/pod"
)

// network opens the pod network; nil where pods are to have none. It is closed after all that uses it.
func (o *options) network(log *slog.Logger) (_ pod.Network, closeIt func() error, err error) {
	if o.Bridge == noBridge {
		if left, err := os.ReadDir(filepath.Join(o.State, "network", "leases")); err == nil && len(left) > 0 {
			log.Warn("pods have addresses from an earlier --bridge; its rules lead host ports to them until a podlet has a bridge again, or the node is restarted", "pods", len(left))
		}
		return nil, func() error { return nil }, nil
	}
	c := bridge.Config{Dir: filepath.Join(o.State, "network"), Bridge: o.Bridge, Subnets: bridge.DefaultSubnets(), Log: log}
	if len(o.PodSubnets) > 0 {
		if c.Subnets, err = prefixes("pod-subnets", o.PodSubnets); err != nil {
			return nil, nil, err
		}
	}
	if c.NoMasquerade, err = prefixes("no-masquerade", o.NoMasquerade); err != nil {
		return nil, nil, err
	}
	n, err := bridge.Open(c)
	if err != nil {
		return nil, nil, fmt.Errorf("open the pod network (see --bridge and --pod-subnets; --bridge none goes without): %w", err)
	}
	return pod.Bridge{Network: n}, n.Close, nil
}

func prefixes(flag string, values []string) ([]netip.Prefix, error) {
	var list []netip.Prefix
	for _, v := range values {
		p, err := netip.ParsePrefix(v)
		if err != nil {
			return nil, fmt.Errorf("--%s %q: want an address and a prefix length, such as 10.88.0.0/16", flag, v)
		}
		list = append(list, p)
	}
	return list, nil
}
