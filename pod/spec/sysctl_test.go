package spec

import (
	"errors"
	"slices"
	"testing"

	"podlet/internal/mount"
)

func TestSysctls(t *testing.T) {
	defaults := []Sysctl{{"net/ipv4/ip_unprivileged_port_start", "0"}, {"net/ipv4/ping_group_range", "0 2147483647"}}
	for _, c := range []struct {
		name string
		pod  Sandbox
		want []Sysctl
	}{
		{"defaults", Sandbox{}, defaults},
		{"node's network", Sandbox{HostNetwork: true}, nil},
		{"user namespace", Sandbox{UserNS: &IDMap{UIDs: []mount.IDMapping{{Length: 1}}}}, defaults[:1]},
		{"default replaced", Sandbox{RawSysctls: map[string]string{"net.ipv4.ip_unprivileged_port_start": "80"}},
			[]Sysctl{{"net/ipv4/ip_unprivileged_port_start", "80"}, defaults[1]}},
		{"dots and slashes", Sandbox{HostNetwork: false, RawSysctls: map[string]string{"net/ipv4/conf/eth0.100/forwarding": "1", "net.ipv6.conf.eth0/200.forwarding": "1"}},
			[]Sysctl{{"net/ipv4/conf/eth0.100/forwarding", "1"}, defaults[0], defaults[1], {"net/ipv6/conf/eth0.200/forwarding", "1"}}},
		{"ipc", Sandbox{HostNetwork: true, RawSysctls: map[string]string{"kernel.shm_rmid_forced": "1", "fs.mqueue.msg_max": "20"}},
			[]Sysctl{{"fs/mqueue/msg_max", "20"}, {"kernel/shm_rmid_forced", "1"}}},
	} {
		got, err := c.pod.Sysctls()
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
	}
}

func TestSysctlsOfLinks(t *testing.T) {
	for path, want := range map[string]bool{
		"net/ipv4/ip_forward": false, "net/ipv4/conf/all/rp_filter": false, "net/ipv4/conf/lo/rp_filter": false, "net/ipv4/conf/default/rp_filter": false,
		"net/ipv4/neigh/default/gc_thresh1": false, "net/ipv4/conf/eth0/rp_filter": true, "net/ipv4/neigh/eth0/gc_stale_time": true,
		"net/ipv6/conf/eth0/accept_ra": true, "net/ipv6/conf/all/disable_ipv6": true, "net/ipv6/conf/default/disable_ipv6": true, "kernel/sem": false,
	} {
		if got := (Sysctl{Path: path}).OfLinks(); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}

func TestCVE_E6(t *testing.T) {
	for name, pod := range map[string]Sandbox{
		"a second one in the value": {RawSysctls: map[string]string{"kernel.shm_rmid_forced": "1\nkernel.core_pattern=|/x"}},
		"the node's":                {RawSysctls: map[string]string{"kernel.core_pattern": "|/x"}},
		"the node's by slashes":     {RawSysctls: map[string]string{"kernel/core_pattern": "|/x"}},
		"up and out":                {RawSysctls: map[string]string{"net/../kernel/core_pattern": "|/x"}},
		"up and out by dots":        {RawSysctls: map[string]string{"net.//.kernel.core_pattern": "|/x"}},
		"an empty part":             {RawSysctls: map[string]string{"net..ipv4": "1"}},
		"empty":                     {RawSysctls: map[string]string{"": "1"}},
		"no name":                   {RawSysctls: map[string]string{"net.ipv4.a b": "1"}},
		"twice":                     {RawSysctls: map[string]string{"net.ipv4.ip_forward": "1", "net/ipv4/ip_forward": "0"}},
		"net in the node's network": {HostNetwork: true, RawSysctls: map[string]string{"net.ipv4.ip_forward": "1"}},
		"ipc of the node":           {HostIPC: true, RawSysctls: map[string]string{"kernel.shmmax": "1"}},
	} {
		if got, err := pod.Sysctls(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, %v; want an invalid request", name, got, err)
		}
	}
}
