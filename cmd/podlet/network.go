package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"podlet/internal/network/bridge"
	"podlet/internal/network/cni"
	"podlet/pod"
)

// network opens the pod network, as options that checkNetwork has seen say; nil where pods are to have none. It is closed after all that uses it.
func (o *options) network(log *slog.Logger) (_ pod.Network, closeIt func() error, err error) {
	if o.Network == networkNone {
		o.warnOfLeft(log)
		return nil, func() error { return nil }, nil
	}
	plugins, err := o.cni(log)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			plugins.Close()
		}
	}()
	// Pods of an earlier podlet stay with what added them, so each of the two may be needed beside the other.
	a := &pod.Auto{CNI: pod.CNI{Network: plugins}, Only: o.Network == networkCNI, NoNew: o.Network == networkBridge, Log: log}
	wanted := a.NoNew || !a.Only && !plugins.Configured()
	if !wanted && o.leases(log) == 0 {
		return a, plugins.Close, nil
	}
	n, err := o.openBridge(log)
	if err != nil {
		return nil, nil, err
	}
	a.Bridge = pod.Bridge{Network: n}
	return a, func() error { return errors.Join(plugins.Close(), n.Close()) }, nil
}

func (o *options) cni(log *slog.Logger) (*cni.Network, error) {
	timeout, err := o.cniTimeout()
	if err != nil {
		return nil, err
	}
	n, err := cni.Open(cni.Config{ConfDir: o.CNIConfDir, BinDirs: o.CNIBinDirs, Dir: o.cniDir(), Timeout: timeout, Retired: o.Network == networkBridge, Log: log})
	if err != nil {
		return nil, fmt.Errorf("open the pod network of CNI (see --cni-conf-dir and --cni-bin-dirs): %w", err)
	}
	return n, nil
}

func (o *options) cniTimeout() (time.Duration, error) {
	timeout, err := time.ParseDuration(o.CNITimeout)
	if err != nil || timeout <= 0 {
		return 0, fmt.Errorf("--cni-timeout %q: want a duration, such as 90s", o.CNITimeout)
	}
	return timeout, nil
}

// seeBridge stands before what is wrong with the built-in network.
const seeBridge = "the pod network (see --bridge, --pod-subnets and --no-masquerade; --network none goes without)"

func (o *options) openBridge(log *slog.Logger) (*bridge.Network, error) {
	c, err := o.bridge()
	if err != nil {
		return nil, err
	}
	c.Log = log
	n, err := bridge.Open(c)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", seeBridge, err)
	}
	return n, nil
}

// bridge is the built-in network's configuration. After an error it has the default for what could not be read.
func (o *options) bridge() (bridge.Config, error) {
	c := bridge.Config{Dir: o.bridgeDir(), Bridge: o.Bridge, Subnets: bridge.DefaultSubnets()}
	own, subnets := prefixes("pod-subnets", o.PodSubnets)
	if len(own) > 0 {
		c.Subnets = own
	}
	direct, masquerade := prefixes("no-masquerade", o.NoMasquerade)
	c.NoMasquerade = direct
	return c, errors.Join(subnets, masquerade)
}

// leases counts the pods that have addresses of the built-in network.
func (o *options) leases(log *slog.Logger) int {
	left, err := bridge.Leases(o.bridgeDir())
	if err != nil {
		log.Warn("it is not known which pods have addresses of the built-in network", "error", err)
	}
	return len(left)
}

func (o *options) warnOfLeft(log *slog.Logger) {
	if left := o.leases(log); left > 0 {
		log.Warn("pods have addresses of the built-in network from an earlier --network; its rules lead host ports to them until a podlet has that network again, or the node is restarted", "pods", left)
	}
	if left, err := os.ReadDir(filepath.Join(o.cniDir(), "attachments")); err == nil && len(left) > 0 {
		log.Warn("pods have addresses of CNI plugins from an earlier --network; the plugins are told of those pods' end by a podlet that has a network again", "pods", len(left))
	}
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
