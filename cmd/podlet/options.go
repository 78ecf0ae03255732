package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"podlet/internal/network/cni"
)

// options are the settings of serve: flags, and keys of the config file with the same names.
type options struct {
	Listen    string `toml:"listen"`
	Root      string `toml:"root"`
	State     string `toml:"state"`
	LogFormat string `toml:"log-format"`
	LogLevel  string `toml:"log-level"`
	Durable   bool   `toml:"durable-layers"`
	// ImportDir holds image archives that are imported at start; "": none. PinnedImages are names and patterns, see image.ParsePinned.
	ImportDir    string   `toml:"import-dir"`
	PinnedImages []string `toml:"pinned-images"`
	// CertsDirs are looked through in order for a registry's hosts.toml.
	CertsDirs []string `toml:"certs-dirs"`
	// PullMinRate is in bytes a second, PullWindow a duration as in Go ("5m").
	PullMinRate int64  `toml:"pull-min-rate"`
	PullWindow  string `toml:"pull-window"`
	// Verifiers is a directory of programs; see registry.Config.
	Verifiers string `toml:"image-verifiers"`
	// Network is one of the networks: what gives pods their addresses.
	Network string `toml:"network"`
	// CNIConfDir holds the CNI configuration, CNIBinDirs the plugins; CNITimeout is a duration.
	CNIConfDir string   `toml:"cni-conf-dir"`
	CNIBinDirs []string `toml:"cni-bin-dirs"`
	CNITimeout string   `toml:"cni-timeout"`
	// Bridge is the name of the pods' bridge.
	Bridge       string   `toml:"bridge"`
	PodSubnets   []string `toml:"pod-subnets"`
	NoMasquerade []string `toml:"no-masquerade"`
	// StreamAddress is the host:port of exec, attach and port-forward, StreamCert and StreamKey PEM files for TLS there.
	StreamAddress string `toml:"stream-address"`
	StreamCert    string `toml:"stream-tls-cert"`
	StreamKey     string `toml:"stream-tls-key"`
}

// What --network may be.
const (
	networkAuto   = "auto"
	networkBridge = "bridge"
	networkCNI    = "cni"
	networkNone   = "none"
)

func defaultOptions() *options {
	return &options{
		Listen: "unix:///run/podlet/podlet.sock", Root: "/var/lib/podlet", State: "/run/podlet", LogFormat: "text", LogLevel: "info",
		Network: networkAuto, CNIConfDir: "/etc/cni/net.d", CNIBinDirs: []string{"/opt/cni/bin", "/usr/lib/cni"}, CNITimeout: cni.DefaultTimeout.String(),
		Bridge: "podlet0", StreamAddress: "127.0.0.1:0", ImportDir: "/etc/podlet/images", PullMinRate: 1 << 10, PullWindow: "5m",
	}
}

func (o *options) imagesDir() string { return filepath.Join(o.Root, "images") }

// cniDir has the attachments of the pods that CNI plugins gave their addresses.
func (o *options) cniDir() string { return filepath.Join(o.Root, "cni") }

// bridgeDir is the built-in network's.
func (o *options) bridgeDir() string { return filepath.Join(o.State, "network") }

func (o *options) flags(f *pflag.FlagSet) {
	f.StringVar(&o.Listen, "listen", o.Listen, "unix socket to serve on")
	f.StringVar(&o.Root, "root", o.Root, "directory for what outlives a reboot: images, records, writable layers, attachments of CNI")
	f.StringVar(&o.State, "state", o.State, "directory for what dies with the boot: sockets, and leases of the built-in network")
	f.StringVar(&o.LogFormat, "log-format", o.LogFormat, "text or json, to stderr")
	f.StringVar(&o.LogLevel, "log-level", o.LogLevel, "debug, info, warn or error")
	f.StringVar(&o.ImportDir, "import-dir", o.ImportDir, "directory with image archives (OCI layouts, docker-archive tars) that are imported at start, each once, and pinned; \"\" for none")
	f.StringSliceVar(&o.PinnedImages, "pinned-images", o.PinnedImages, "images that a kubelet should not collect: names, or full names with * for any text, e.g. registry.k8s.io/kube-*")
	f.StringSliceVar(&o.CertsDirs, "certs-dirs", o.CertsDirs, "directories with HOST/hosts.toml for registries (default /etc/podlet/certs.d, else /etc/containerd/certs.d)")
	f.Int64Var(&o.PullMinRate, "pull-min-rate", o.PullMinRate, "a pull that gets less than so many bytes a second, over a whole --pull-window, is given up")
	f.StringVar(&o.Verifiers, "image-verifiers", o.Verifiers, "directory of programs that must all accept an image before it is pulled, called as containerd calls image verifiers (default: none)")
	f.StringVar(&o.PullWindow, "pull-window", o.PullWindow, "see --pull-min-rate; a duration of at least 1s")
	f.StringVar(&o.Network, "network", o.Network, "what gives pods their addresses: \"cni\", plugins as configured in --cni-conf-dir; \"bridge\", podlet itself; "+
		"\"auto\", CNI from when a configuration is there, till then podlet; \"none\", nothing: pods have lo only. A node of a cluster whose network is yet to be installed wants \"cni\"")
	f.StringVar(&o.CNIConfDir, "cni-conf-dir", o.CNIConfDir, "directory of CNI configurations, of which the first by name counts; watched")
	f.StringSliceVar(&o.CNIBinDirs, "cni-bin-dirs", o.CNIBinDirs, "directories with CNI plugins")
	f.StringVar(&o.CNITimeout, "cni-timeout", o.CNITimeout, "how long all CNI plugins may take to add a pod, or to remove one; then they are killed")
	f.StringVar(&o.Bridge, "bridge", o.Bridge, "bridge of the pods where podlet gives them their addresses, made if absent; each podlet on a node needs its own")
	f.StringSliceVar(&o.PodSubnets, "pod-subnets", o.PodSubnets, "subnets for pods' addresses, at most one of IPv4 and one of IPv6 (default 10.88.0.0/16, and fd00:10:88::/64 if the node has IPv6)")
	f.StringSliceVar(&o.NoMasquerade, "no-masquerade", o.NoMasquerade, "destinations that see pods by their own addresses, as they have a route back, e.g. the subnets of other nodes' pods")
	f.StringVar(&o.StreamAddress, "stream-address", o.StreamAddress, "host:port on which exec, attach and port-forward are served to the kubelet; port 0: any")
	f.StringVar(&o.StreamCert, "stream-tls-cert", o.StreamCert, "PEM file with the certificate for --stream-address (default: no TLS, which is for loopback)")
	f.StringVar(&o.StreamKey, "stream-tls-key", o.StreamKey, "PEM file with its key")
	f.BoolVar(&o.Durable, "durable-layers", o.Durable, "let fsync in containers reach the disk; a container's exit then waits for it")
}

// load reads the config file, if there is one, and sets again the flags given on the command line.
func (o *options) load(file string, f *pflag.FlagSet) error {
	if file == "" {
		return nil
	}
	var restore []func() error
	f.Visit(func(flag *pflag.Flag) { restore = append(restore, keep(flag)) })
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := parseConfig(file, text, o); err != nil {
		return err
	}
	for _, again := range restore {
		if err := again(); err != nil {
			return err
		}
	}
	return nil
}

// keep gives what sets a flag to its present value again.
func keep(flag *pflag.Flag) func() error {
	if list, ok := flag.Value.(pflag.SliceValue); ok {
		values := list.GetSlice()
		return func() error { return list.Replace(values) }
	}
	value := flag.Value.String()
	return func() error { return flag.Value.Set(value) }
}
