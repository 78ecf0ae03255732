package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestStatsMemory: what was written to files counts as used, and not as needed.
func TestStatsMemory(t *testing.T) {
	n := commonNode(t)
	p := n.newPod(n.inOwnCgroup("reads"))
	const limit, file = 96 << 20, 32 << 20
	write := []string{"dd", "if=/dev/zero", "of=/file", "bs=1M", fmt.Sprint("count=", file>>20)}
	// It writes one line: behind a second one there may be a log writer in the pod's cgroup, which is one more process.
	config := container("writer", "sh", "-c", strings.Join(write, " ")+" 2>/dev/null && echo written && exec sleep 1000")
	limits(&cri.LinuxContainerResources{MemoryLimitInBytes: limit, MemorySwapLimitInBytes: limit})(config)
	c := p.start(config)
	n.says(c, "written")
	s, pod := n.containerStats(c), n.podStats(p.id).Linux
	n.soon("a file that was written counts", func() bool {
		m := s.Memory
		if m.UsageBytes.Value >= file && m.UsageBytes.Value-m.WorkingSetBytes.Value >= file/2 && pod.Memory.UsageBytes.Value >= file {
			return true
		}
		t.Logf("%d bytes used, %d by the pod, %d as a working set; a file of %d was written", m.UsageBytes.Value, pod.Memory.UsageBytes.Value, m.WorkingSetBytes.Value, file)
		// What is on the disk the kernel may drop at any time.
		n.exec(c, write...)
		s, pod = n.containerStats(c), n.podStats(p.id).Linux
		return false
	})
	m := s.Memory
	if m.UsageBytes.Value > limit {
		t.Errorf("%d bytes used of %d", m.UsageBytes.Value, limit)
	}
	if m.AvailableBytes.GetValue() != limit-m.WorkingSetBytes.Value {
		t.Errorf("%v available of %d, with a working set of %d", m.AvailableBytes, limit, m.WorkingSetBytes.Value)
	}
	if m.RssBytes.Value == 0 || m.RssBytes.Value > m.UsageBytes.Value || m.PageFaults.Value == 0 || m.MajorPageFaults == nil {
		t.Errorf("memory %v", m)
	}
	// Whether the kernel accounts for swap is its own affair; if it does, none is allowed.
	if s.Swap != nil && (s.Swap.SwapUsageBytes.Value > 1<<20 || s.Swap.SwapAvailableBytes == nil || s.Swap.SwapAvailableBytes.Value != 0) {
		t.Errorf("swap %v", s.Swap)
	}
	_, err := os.Stat("/proc/pressure/cpu")
	if psi := err == nil; (s.Cpu.Psi != nil) != psi || (m.Psi != nil) != psi || (s.Io.GetPsi() != nil) != psi {
		t.Errorf("the kernel has PSI: %v; told are %v, %v and %v", psi, s.Cpu.Psi, m.Psi, s.Io)
	}
	if pod.Memory.AvailableBytes != nil {
		t.Errorf("memory of the pod, which has no limit: %v", pod.Memory)
	}
	if len(pod.Containers) != 1 || pod.Containers[0].Attributes.Id != c {
		t.Errorf("containers of the pod: %v", pod.Containers)
	}
	// The shell has become sleep. On pure v2 the kernel counts only where a limit wants the controller.
	if pod.Process == nil && pureV2() {
		return
	}
	if got := pod.Process.GetProcessCount().GetValue(); got != 1 {
		t.Errorf("%d processes in the pod", got)
	}
}
