package cgroup

import (
	"errors"
	"fmt"
	"strings"
)

// ErrUnsupported is wrapped by the error about a limit that this machine can't
// enforce.
var ErrUnsupported = errors.New("not supported on this machine")

// ErrInvalid is wrapped by the error about a value that no machine would take,
// and about CPUs and memory nodes that this one hasn't got.
var ErrInvalid = errors.New("invalid resource value")

// Resources are the limits of a cgroup, named as in CRI's
// LinuxContainerResources. A zero field sets nothing: at Create the kernel's
// default stays, at Update what is there.
type Resources struct {
	CPUPeriod int64 // µs, 1000 to 1000000
	CPUQuota  int64 // µs a period, at least 1000; -1 is no quota
	CPUShares int64 // relative weight, 1024 is the default; clamped to 2..262144; on v2 see Weight

	MemoryLimitBytes     int64 // -1 is no limit
	MemorySwapLimitBytes int64 // memory + swap, so at least MemoryLimitBytes; -1 is no limit

	CpusetCPUs string // list form of cpuset(7), "0-3,7"
	CpusetMems string

	HugepageLimits []HugepageLimit
	PidsLimit      int64 // tasks; -1 is no limit

	// Unified are cgroup v2 files and what to write to them, such as memory.high.
	// They are written last, so they win over the fields above. Only on V2.
	Unified map[string]string

	// Devices are the device rules, the last that matches winning, after a
	// "deny all". nil: none at Create (every device is allowed), unchanged at
	// Update. Empty but not nil: no device is allowed.
	Devices []DeviceRule
}

// HugepageLimit is CRI's HugepageLimit.
type HugepageLimit struct {
	PageSize string // "2MB", "1GB", "64KB"
	Limit    uint64 // bytes
}

// setting is one value for one cgroup file.
type setting struct {
	controller string
	file       string
	value      string
	mayLack    bool   // a missing file is as good as the value
	effective  string // the file in which the kernel says what of a cpuset it grants
}

// String is the setting as errors name it.
func (s setting) String() string { return fmt.Sprintf("%s = %q", s.file, s.value) }

// plan turns r into settings in the order in which they must be written, given
// the limits that stand now. It touches no file.
func (h *Hierarchy) plan(r *Resources, now *Limits) ([]setting, error) {
	if r == nil {
		return nil, nil
	}
	if err := checkDevices(r.Devices); err != nil {
		return nil, err
	}
	var all []setting
	for _, controller := range []func(*Hierarchy, *Resources, *Limits) ([]setting, error){
		cpuSettings, cpusetSettings, memorySettings, hugetlbSettings, pidsSettings, unifiedSettings,
	} {
		s, err := controller(h, r, now)
		if err != nil {
			return nil, err
		}
		all = append(all, s...)
	}
	for _, s := range all {
		if h.by[s.controller] == nil {
			return nil, fmt.Errorf("set %s: %w: the kernel offers no %s controller in %s mode", s, ErrUnsupported, s.controller, h.mode)
		}
	}
	return all, nil
}

// onV2 says whether controller is the v2 tree's. One that is nowhere is
// reported by plan.
func (h *Hierarchy) onV2(controller string) bool {
	if t := h.by[controller]; t != nil {
		return t.v2
	}
	return h.mode == V2
}

func pidsSettings(_ *Hierarchy, r *Resources, _ *Limits) ([]setting, error) {
	if r.PidsLimit == 0 {
		return nil, nil
	}
	if r.PidsLimit < -1 {
		return nil, fmt.Errorf("%w: pids limit %d: want at least 1, or -1 for none", ErrInvalid, r.PidsLimit)
	}
	return []setting{{controller: "pids", file: "pids.max", value: orMax(r.PidsLimit)}}, nil
}

func hugetlbSettings(h *Hierarchy, r *Resources, _ *Limits) ([]setting, error) {
	var s []setting
	for _, l := range r.HugepageLimits {
		known := false
		for _, size := range h.pageSizes {
			known = known || size == l.PageSize
		}
		if !known {
			return nil, fmt.Errorf("hugepage limit for %.32q: %w: this machine's huge page sizes are [%s]", l.PageSize, ErrUnsupported, strings.Join(h.pageSizes, " "))
		}
		// The second file limits reservations (mmap) as well as faults, so that an
		// app gets ENOMEM in place of SIGBUS.
		usage, reserved := "hugetlb."+l.PageSize+".limit_in_bytes", "hugetlb."+l.PageSize+".rsvd.limit_in_bytes"
		if h.onV2("hugetlb") {
			usage, reserved = "hugetlb."+l.PageSize+".max", "hugetlb."+l.PageSize+".rsvd.max"
		}
		value := fmt.Sprint(l.Limit)
		s = append(s, setting{controller: "hugetlb", file: usage, value: value}, setting{controller: "hugetlb", file: reserved, value: value})
	}
	return s, nil
}

func orMax(n int64) string {
	if n == -1 {
		return "max"
	}
	return fmt.Sprint(n)
}
