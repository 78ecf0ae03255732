package main

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestStatsCPU: the counter grows by what a container's quota allows, and the rate is the growth by the time. There is none at first.
func TestStatsCPU(t *testing.T) {
	n := commonNode(t)
	p := n.newPod(n.inOwnCgroup("burns"))
	config := container("burner", "sh", "-c", "while :; do :; done")
	limits(&cri.LinuxContainerResources{CpuPeriod: 100_000, CpuQuota: 20_000})(config)
	c := p.start(config)
	const least = 300 * time.Millisecond
	for _, of := range []struct {
		what, group string
		look        func() *cri.CpuUsage
	}{
		// The pod comes last: a look at it is one at its containers, too.
		{"container", "burns/" + c, func() *cri.CpuUsage { return n.containerStats(c).Cpu }},
		{"pod", "burns", func() *cri.CpuUsage { return n.podStats(p.id).Linux.Cpu }},
	} {
		began := time.Now()
		before := of.look()
		if before.UsageNanoCores != nil {
			t.Errorf("%s: %d nano cores at the first look", of.what, before.UsageNanoCores.Value)
		}
		n.soon("it uses CPU", func() bool { return n.cpuUsed(of.group) > time.Duration(before.UsageCoreNanoSeconds.Value)+least })
		after := of.look()
		used, passed := time.Duration(after.UsageCoreNanoSeconds.Value-before.UsageCoreNanoSeconds.Value), time.Duration(after.Timestamp-before.Timestamp)
		if all := time.Since(began); used < least || used > all*3/10+least/3 {
			t.Errorf("%s: %v of CPU used in %v, with a quota of 0.2", of.what, used, all)
		}
		if before.Timestamp < began.UnixNano() || after.Timestamp > time.Now().UnixNano() || passed <= 0 {
			t.Errorf("%s: looked at %d and %d, now is %d", of.what, before.Timestamp, after.Timestamp, time.Now().UnixNano())
		}
		if after.UsageNanoCores == nil {
			t.Errorf("%s: no nano cores at the second look", of.what)
			continue
		}
		if got, want := float64(after.UsageNanoCores.Value)/1e9, used.Seconds()/passed.Seconds(); math.Abs(got-want) > 0.001 {
			t.Errorf("%s: %.3f CPUs by the rate, %.3f by the counter", of.what, got, want)
		}
	}
}

// cpuUsed is the kernel's own counter, of a cgroup below the node's.
func (n *node) cpuUsed(group string) time.Duration {
	n.t.Helper()
	text, unit := n.cgroupFile(group, "cpu.stat", "cpuacct", "cpuacct.usage"), time.Nanosecond
	if pureV2() {
		text, unit = strings.TrimPrefix(text, "usage_usec "), time.Microsecond
	}
	var used int64
	if _, err := fmt.Sscan(text, &used); err != nil {
		n.t.Fatalf("%q: %v", text, err)
	}
	return time.Duration(used) * unit
}
