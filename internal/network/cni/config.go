package cni

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"
)

// Config says where things are.
type Config struct {
	// ConfDir holds the network's configuration, of which the first file by name counts; it need not exist (yet). BinDirs are looked
	// through in order for plugins. All absolute.
	ConfDir string
	BinDirs []string
	// Dir is podlet's own, for the records of attachments; it outlives a reboot, as leases of plugins do. Absolute.
	Dir string
	// Timeout bounds all plugins of one ADD, DEL or CHECK together; 0 stands for DefaultTimeout.
	Timeout time.Duration
	// Retired says that no pod is added any more: the network only takes back what it gave. Nothing is watched then, and plugins are asked nothing.
	Retired bool
	// Log hears what goes wrong with nobody to be told. Nil: nobody does.
	Log *slog.Logger

	// Tests have less time: for STATUS and for GC, between two STATUS, and before the next try of a DEL that failed once.
	statusTime, gcTime, statusEvery, queueLeast time.Duration
}

const (
	// DefaultTimeout is within the time that a kubelet gives RunPodSandbox (twice its runtimeRequestTimeout, 4 minutes) and StopPodSandbox (2 minutes).
	DefaultTimeout = 110 * time.Second
	// statusTime bounds one STATUS, gcTime one GC: pods that are to be added wait for it.
	statusTime, gcTime = 10 * time.Second, 20 * time.Second
	// statusEvery is the time between two STATUS, gcEvery that between two GC, queueLeast that after a DEL that failed once (backOff).
	statusEvery, gcEvery, queueLeast = 10 * time.Second, time.Hour, time.Second
	// abreast is how many chains of plugins run at a time.
	abreast = 64
	// ifName is the pod's interface: kubelets and their users know no other.
	ifName = "eth0"
)

func (c *Config) check() error {
	dirs := append([]string{c.ConfDir, c.Dir}, c.BinDirs...)
	for _, d := range dirs {
		if !filepath.IsAbs(d) {
			return fmt.Errorf("CNI directory %q is not absolute", d)
		}
	}
	if len(c.BinDirs) == 0 {
		return errors.New("no directory with CNI plugins is given")
	}
	if c.Timeout < 0 {
		return fmt.Errorf("the time for CNI plugins, %s, is negative", c.Timeout)
	}
	for _, d := range []struct {
		value *time.Duration
		usual time.Duration
	}{{&c.Timeout, DefaultTimeout}, {&c.statusTime, statusTime}, {&c.gcTime, gcTime}, {&c.statusEvery, statusEvery}, {&c.queueLeast, queueLeast}} {
		if *d.value == 0 {
			*d.value = d.usual
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}
