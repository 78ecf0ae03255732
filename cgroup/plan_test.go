package cgroup

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestWeight(t *testing.T) {
	for shares, want := range map[uint64]uint64{0: 1, 2: 1, 3: 2, 1024: 100, 2000: 170, 262144: 10000, 1 << 40: 10000} {
		if got := Weight(shares); got != want {
			t.Errorf("Weight(%d) = %d, want %d", shares, got, want)
		}
	}
	for s := uint64(2); s < maxShares; s++ {
		if Weight(s) > Weight(s+1) {
			t.Fatalf("Weight(%d) > Weight(%d)", s, s+1)
		}
	}
	for w := uint64(1); w <= 10000; w++ {
		if s := sharesOf(w); Weight(s) > w || s < maxShares && Weight(s+1) <= w {
			t.Fatalf("sharesOf(%d) = %d, of weight %d", w, s, Weight(s))
		}
	}
	if got := sharesOf(100); got != 1024 {
		t.Errorf("sharesOf(100) = %d", got)
	}
}

// fake is a layout with every controller on one version. Nothing is opened.
func fake(mode Mode) *Hierarchy {
	t := &tree{name: "fake", v2: mode == V2, controllers: []string{"cpu", "cpuset", "memory", "pids", "hugetlb"}}
	h := &Hierarchy{mode: mode, by: map[string]*tree{}, pageSizes: []string{"2MB"}}
	if t.v2 {
		h.v2 = t
	}
	h.add(t)
	return h
}

func TestPlan(t *testing.T) {
	limited := unlimited()
	limited.CPUQuota, limited.CPUPeriod, limited.MemoryLimitBytes, limited.MemorySwapLimitBytes = 50000, 100000, 1000, 2000
	for _, c := range []struct {
		name   string
		r      Resources
		now    *Limits
		v1, v2 string // settings, or part of the error after "!"
	}{
		{"nothing", Resources{}, limited, "", ""},
		{"cpu", Resources{CPUShares: 1024, CPUQuota: 20000, CPUPeriod: 50000}, unlimited(),
			"cpu.shares=1024 cpu.cfs_period_us=50000 cpu.cfs_quota_us=20000", "cpu.weight=100 cpu.max=20000 50000"},
		{"cpu changed", Resources{CPUQuota: 20000, CPUPeriod: 50000}, limited,
			"cpu.cfs_quota_us=-1 cpu.cfs_period_us=50000 cpu.cfs_quota_us=20000", "cpu.max=20000 50000"},
		{"no quota", Resources{CPUQuota: -1}, limited, "cpu.cfs_quota_us=-1", "cpu.max=max"},
		{"period alone", Resources{CPUPeriod: 20000}, limited, "cpu.cfs_period_us=20000", "cpu.max=50000 20000"},
		{"memory", Resources{MemoryLimitBytes: 1000}, unlimited(), "memory.limit_in_bytes=1000", "memory.max=1000"},
		{"no swap", Resources{MemoryLimitBytes: 1000, MemorySwapLimitBytes: 1000}, unlimited(),
			"memory.limit_in_bytes=1000 memory.memsw.limit_in_bytes=1000?", "memory.max=1000 memory.swap.max=0?"},
		{"grow", Resources{MemoryLimitBytes: 3000, MemorySwapLimitBytes: 4000}, limited,
			"memory.memsw.limit_in_bytes=4000 memory.limit_in_bytes=3000", "memory.max=3000 memory.swap.max=1000"},
		{"shrink", Resources{MemoryLimitBytes: 500, MemorySwapLimitBytes: 600}, limited,
			"memory.limit_in_bytes=500 memory.memsw.limit_in_bytes=600", "memory.max=500 memory.swap.max=100"},
		{"unlimit", Resources{MemoryLimitBytes: -1, MemorySwapLimitBytes: -1}, limited,
			"memory.memsw.limit_in_bytes=-1? memory.limit_in_bytes=-1", "memory.max=max memory.swap.max=max?"},
		{"swap alone", Resources{MemorySwapLimitBytes: 1500}, limited, "memory.memsw.limit_in_bytes=1500", "memory.swap.max=500"},
		{"swap below", Resources{MemoryLimitBytes: 1000, MemorySwapLimitBytes: 900}, limited, "!below the memory limit", "!below the memory limit"},
		{"swap without memory", Resources{MemorySwapLimitBytes: 900}, unlimited(), "!below the memory limit", "!below the memory limit"},
		{"memory over swap", Resources{MemoryLimitBytes: 2500}, limited, "!set both", "memory.max=2500"},
		{"rest", Resources{PidsLimit: 7, CpusetCPUs: "0-1", CpusetMems: "0", HugepageLimits: []HugepageLimit{{"2MB", 1 << 21}}}, unlimited(),
			"cpuset.cpus=0-1 cpuset.mems=0 hugetlb.2MB.limit_in_bytes=2097152 hugetlb.2MB.rsvd.limit_in_bytes=2097152 pids.max=7",
			"cpuset.cpus=0-1 cpuset.mems=0 hugetlb.2MB.max=2097152 hugetlb.2MB.rsvd.max=2097152 pids.max=7"},
		{"no pids limit", Resources{PidsLimit: -1}, unlimited(), "pids.max=max", "pids.max=max"},
		{"unified", Resources{Unified: map[string]string{"memory.high": "5", "cpu.idle": "1"}}, unlimited(), `!"cpu.idle"`, "cpu.idle=1 memory.high=5"},
		{"unified core file", Resources{Unified: map[string]string{"cgroup.procs": "1"}}, unlimited(), `!"cgroup.procs"`, `!"cgroup.procs"`},
		{"unified path", Resources{Unified: map[string]string{"memory./../x": "1"}}, unlimited(), `!"memory./../x"`, `!"memory./../x"`},
		{"unified dots", Resources{Unified: map[string]string{"..": "1"}}, unlimited(), `!".."`, `!".."`},
		{"unified prefix", Resources{Unified: map[string]string{"memory": "1"}}, unlimited(), `!"memory"`, `!"memory"`},
		{"page size", Resources{HugepageLimits: []HugepageLimit{{"3MB", 0}}}, unlimited(), `!"3MB"`, `!"3MB"`},
		{"quota", Resources{CPUQuota: 10}, unlimited(), "!quota", "!quota"},
		{"period", Resources{CPUPeriod: 10}, unlimited(), "!period", "!period"},
		{"shares", Resources{CPUShares: -1}, unlimited(), "!shares", "!shares"},
		{"memory", Resources{MemoryLimitBytes: -2}, unlimited(), "!memory", "!memory"},
		{"pids", Resources{PidsLimit: -2}, unlimited(), "!pids", "!pids"},
		{"cpus", Resources{CpusetCPUs: "1-0"}, unlimited(), "!cpuset.cpus", "!cpuset.cpus"},
		{"cpus text", Resources{CpusetMems: "0\n1"}, unlimited(), "!cpuset.mems", "!cpuset.mems"},
		{"device", Resources{Devices: []DeviceRule{{Type: 'x', Access: "r"}}}, unlimited(), "!device rule", "!device rule"},
		{"device", Resources{Devices: []DeviceRule{{Type: 'c', Access: "rx"}}}, unlimited(), "!device rule", "!device rule"},
		{"device", Resources{Devices: []DeviceRule{{Type: 'c', Major: 4096, Access: "r"}}}, unlimited(), "!device rule", "!device rule"},
	} {
		for mode, want := range map[Mode]string{V1: c.v1, V2: c.v2} {
			settings, err := fake(mode).plan(&c.r, c.now)
			if message, bad := strings.CutPrefix(want, "!"); bad {
				if err == nil || !strings.Contains(err.Error(), message) || !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrUnsupported) {
					t.Errorf("%s, %s: error %v, want one with %q", c.name, mode, err, message)
				}
				continue
			}
			var got []string
			for _, s := range settings {
				text := s.file + "=" + s.value
				if s.mayLack {
					text += "?"
				}
				got = append(got, text)
			}
			if err != nil || strings.Join(got, " ") != want {
				t.Errorf("%s, %s:\n got %s, %v\nwant %s", c.name, mode, strings.Join(got, " "), err, want)
			}
		}
	}
}

func TestPlanWithoutController(t *testing.T) {
	h := &Hierarchy{mode: V2, by: map[string]*tree{}, v2: &tree{v2: true}}
	for _, r := range []Resources{{CPUShares: 2}, {MemoryLimitBytes: 1}, {PidsLimit: 1}, {CpusetCPUs: "0"}, {Unified: map[string]string{"cpu.idle": "1"}}} {
		if _, err := h.plan(&r, unlimited()); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

func TestParseList(t *testing.T) {
	for list, want := range map[string]string{"": "[]", "0": "[0]", "0-2,7\n": "[0 1 2 7]"} {
		set, err := parseList(list)
		var got []int
		for n := range set {
			got = append(got, n)
		}
		slices.Sort(got)
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("parseList(%q) = %v, %v", list, got, err)
		}
	}
	for _, list := range []string{",", "a", "-1", "1-", "2-1", "0-99999999", "0 1", "0,\n", strings.Repeat("1,", 4096)} {
		if _, err := parseList(list); err == nil {
			t.Errorf("parseList(%.20q) is accepted", list)
		}
	}
	if !subset("0-1", "0-3") || subset("0-4", "0-3") || !subset("", "") {
		t.Error("subset")
	}
}

func TestParseMount(t *testing.T) {
	for line, want := range map[string]string{
		`30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate`: "{/sys/fs/cgroup true []} true",
		`31 23 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct`:      "{/sys/fs/cgroup/cpu,cpuacct false [cpu cpuacct]} true",
		`31 23 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd`:   "{/sys/fs/cgroup/systemd false []} false",
		`31 23 0:27 / /sys/fs/cgroup/a\040b rw - cgroup cgroup rw,pids`:                  "{/sys/fs/cgroup/a b false [pids]} true",
		`31 23 0:27 / /sys/fs/cgroups/pids rw - cgroup cgroup rw,pids`:                   "{ false []} false",
		`32 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw`:                                "{ false []} false",
		`32 23`: "{ false []} false",
	} {
		m, ok := parseMount(line, "/sys/fs/cgroup")
		if got := fmt.Sprint(m, ok); got != want {
			t.Errorf("%s:\n got %s\nwant %s", line, got, want)
		}
	}
}
