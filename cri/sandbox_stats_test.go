package cri

import (
	"slices"
	"testing"
	"time"

	"podlet/internal/network"
	"podlet/pod"
)

// A kubelet reads the default interface of whatever network it is told of, without asking whether there is one.
func TestNetworkUsage(t *testing.T) {
	if u := networkUsage(&pod.PodStats{}); u != nil {
		t.Errorf("of a pod with lo alone: %v", u)
	}
	for want, links := range map[string][]string{
		"eth0": {"net1", "eth0", "net2"},
		"net1": {"net1", "net2"},
	} {
		var of []network.Counters
		for i, name := range links {
			of = append(of, network.Counters{Name: name, RxBytes: uint64(i + 1), RxErrors: 2, TxBytes: 3, TxErrors: 4})
		}
		u := networkUsage(&pod.PodStats{Links: of, LinksTime: time.Unix(0, 5)})
		d := u.DefaultInterface
		if d.Name != want || d.RxBytes.Value != uint64(slices.Index(links, want)+1) || d.RxErrors.Value != 2 || d.TxBytes.Value != 3 || d.TxErrors.Value != 4 || u.Timestamp != 5 {
			t.Errorf("of %q: %v", links, u)
		}
		if len(u.Interfaces) != len(links)-1 {
			t.Errorf("of %q: others %v", links, u.Interfaces)
		}
		for _, l := range u.Interfaces {
			if l.Name == want {
				t.Errorf("the default interface is among the others: %v", u)
			}
		}
	}
}
