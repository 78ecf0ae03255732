package main

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
)

// check finds what serve can't begin with, all of it, before anything is made and before any plugin is called for a pod that is left. The rest only the node can tell:
// whether a port, a bridge or a subnet is free.
func (o *options) check() error {
	_, socket := o.socket()
	_, pinned := o.pinned()
	_, window := o.pullWindow()
	return errors.Join(socket, absolute("root", o.Root), absolute("state", o.State), pinned, window, o.checkNetwork(), o.checkStreams())
}

func (o *options) checkNetwork() error {
	switch o.Network {
	case networkNone, networkAuto, networkBridge, networkCNI:
	default:
		return fmt.Errorf("--network %q: want %s, %s, %s or %s", o.Network, networkAuto, networkBridge, networkCNI, networkNone)
	}
	_, timeout := o.cniTimeout()
	bridge, unread := o.bridge()
	all := []error{timeout, unread}
	if o.Network == networkNone {
		return errors.Join(all...)
	}
	if o.Bridge == networkNone {
		all = append(all, fmt.Errorf("--bridge %s: it is --network %s now that leaves pods without a network", networkNone, networkNone))
	}
	// With CNI alone it is opened for pods that an earlier podlet left, if there are any; then Open checks it.
	if o.Network != networkCNI {
		if err := bridge.Check(); err != nil {
			all = append(all, fmt.Errorf("%s: %w", seeBridge, err))
		}
	}
	all = append(all, absolute("cni-conf-dir", o.CNIConfDir))
	if len(o.CNIBinDirs) == 0 {
		all = append(all, errors.New("--cni-bin-dirs: want at least one directory"))
	}
	for _, dir := range o.CNIBinDirs {
		all = append(all, absolute("cni-bin-dirs", dir))
	}
	return errors.Join(all...)
}

func (o *options) checkStreams() error {
	_, port, err := net.SplitHostPort(o.StreamAddress)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		err = fmt.Errorf("--stream-address %q: want host:port: %w", o.StreamAddress, err)
	}
	_, tls := o.streamTLS()
	return errors.Join(err, tls)
}

// socket is the path that --listen names.
func (o *options) socket() (string, error) {
	path, ok := strings.CutPrefix(o.Listen, "unix://")
	if !ok || !filepath.IsAbs(path) {
		return "", fmt.Errorf("--listen %q: want unix:///absolute/path", o.Listen)
	}
	return path, nil
}

// absolute checks a directory that a flag names.
func absolute(flag, dir string) error {
	if filepath.IsAbs(dir) {
		return nil
	}
	return fmt.Errorf("--%s %q: want an absolute path", flag, dir)
}
