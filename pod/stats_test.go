package pod

import (
	"testing"

	"podlet/cgroup"
)

// What containers of one pod use is added up where their parent is not the pod's alone.
func TestSum(t *testing.T) {
	rate := func(n uint64) *uint64 { return &n }
	of := func(s cgroup.Stats) *ContainerStats { return &ContainerStats{Stats: &s} }
	got := sum([]*ContainerStats{
		of(cgroup.Stats{CPU: &cgroup.CPUStats{Usage: 1}, Memory: &cgroup.MemoryStats{Usage: 10, WorkingSet: 9, RSS: 8, Limit: 100, PageFaults: 7, MajorPageFaults: 6}}),
		of(cgroup.Stats{CPU: &cgroup.CPUStats{Usage: 2, Rate: rate(5)}, Memory: &cgroup.MemoryStats{Usage: 1, WorkingSet: 1, RSS: 1, Limit: -1, PageFaults: 1, MajorPageFaults: 1}}),
		of(cgroup.Stats{CPU: &cgroup.CPUStats{Usage: 4, Rate: rate(6)}}),
	})
	if got.CPU.Usage != 7 || got.CPU.Rate == nil || *got.CPU.Rate != 11 || got.Time.IsZero() {
		t.Errorf("CPU %+v", got.CPU)
	}
	if *got.Memory != (cgroup.MemoryStats{Usage: 11, WorkingSet: 10, RSS: 9, Limit: -1, PageFaults: 8, MajorPageFaults: 7}) {
		t.Errorf("memory %+v", got.Memory)
	}
	if got := sum(nil); got.CPU.Usage != 0 || got.CPU.Rate != nil {
		t.Errorf("of none %+v", got.CPU)
	}
}
