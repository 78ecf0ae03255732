package cgroup

import (
	"fmt"
	"sort"

	"github.com/containerd/cgroups/v3/cgroup2"
)

// Bounds of cpu.shares, cpu.weight and the CFS bandwidth files (kernel:
// Documentation/scheduler/sched-bwc.rst, cgroup-v2.rst).
const (
	minShares, maxShares = 2, 1 << 18
	minPeriod, maxPeriod = 1000, 1000000
	minQuota             = 1000
)

// Weight converts cpu.shares of cgroup v1 (2 to 262144, default 1024) to
// cpu.weight of v2 (1 to 10000, default 100). It is containerd's conversion, which
// runc since 1.3.2 and crun since 1.23 use as well: a quadratic in log2(shares)
// that meets all three points, in place of KEP-2254's linear one, under which a
// container that asked for one CPU had 39 hundredths of a default cgroup's share
// (kubernetes#131216, runc#4785, crun#1767). With another one, pods of two
// runtimes would not be comparable.
func Weight(shares uint64) uint64 {
	return cgroup2.ConvertCPUSharesToCgroupV2Value(max(shares, minShares))
}

// sharesOf is the largest number of shares with at most the given weight: 1024
// for 100. Several shares have the same weight, so what was asked for can't
// always be told.
func sharesOf(weight uint64) uint64 {
	n := sort.Search(maxShares-minShares, func(i int) bool { return Weight(uint64(minShares+1+i)) > weight })
	return uint64(minShares + n)
}

func cpuSettings(h *Hierarchy, r *Resources, now *Limits) ([]setting, error) {
	switch {
	case r.CPUShares < 0:
		return nil, fmt.Errorf("%w: cpu shares %d: want 2 to 262144", ErrInvalid, r.CPUShares)
	case r.CPUPeriod != 0 && (r.CPUPeriod < minPeriod || r.CPUPeriod > maxPeriod):
		return nil, fmt.Errorf("%w: cpu period %d µs: want %d to %d", ErrInvalid, r.CPUPeriod, minPeriod, maxPeriod)
	case r.CPUQuota != 0 && r.CPUQuota != -1 && r.CPUQuota < minQuota:
		return nil, fmt.Errorf("%w: cpu quota %d µs: want at least %d, or -1 for none", ErrInvalid, r.CPUQuota, minQuota)
	}
	if h.onV2("cpu") {
		return cpuV2(r, now), nil
	}
	return cpuV1(r, now), nil
}

func cpuV1(r *Resources, now *Limits) []setting {
	var s []setting
	if r.CPUShares != 0 {
		s = append(s, setting{controller: "cpu", file: "cpu.shares", value: fmt.Sprint(r.CPUShares)})
	}
	quota, period := r.CPUQuota, r.CPUPeriod
	// The kernel refuses a quota/period above the parent's, which each of the two
	// writes alone could be for a moment. No quota is always allowed.
	if quota > 0 && period != 0 && now.CPUQuota != -1 {
		s = append(s, setting{controller: "cpu", file: "cpu.cfs_quota_us", value: "-1"})
	}
	if period != 0 {
		s = append(s, setting{controller: "cpu", file: "cpu.cfs_period_us", value: fmt.Sprint(period)})
	}
	if quota != 0 {
		s = append(s, setting{controller: "cpu", file: "cpu.cfs_quota_us", value: fmt.Sprint(quota)})
	}
	return s
}

func cpuV2(r *Resources, now *Limits) []setting {
	var s []setting
	if r.CPUShares != 0 {
		s = append(s, setting{controller: "cpu", file: "cpu.weight", value: fmt.Sprint(Weight(uint64(r.CPUShares)))})
	}
	quota, period := r.CPUQuota, r.CPUPeriod
	if quota == 0 {
		quota = now.CPUQuota
	}
	switch {
	case period != 0:
		s = append(s, setting{controller: "cpu", file: "cpu.max", value: fmt.Sprintf("%s %d", orMax(quota), period)})
	case r.CPUQuota != 0:
		s = append(s, setting{controller: "cpu", file: "cpu.max", value: orMax(quota)})
	}
	return s
}
