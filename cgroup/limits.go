package cgroup

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Limits are the limits that the kernel enforces on a cgroup itself; its
// parents may be tighter. A controller that is not enabled for it limits
// nothing.
type Limits struct {
	CPUShares uint64 // on V2 the most shares with this weight; 0: no cpu controller
	CPUWeight uint64 // V2 only
	CPUQuota  int64  // µs a period; -1: none
	CPUPeriod int64  // µs; 0: no cpu controller

	MemoryLimitBytes     int64 // -1: none
	MemorySwapLimitBytes int64 // memory + swap; -1: none

	CpusetCPUs string // what the kernel grants; "" without a cpuset controller
	CpusetMems string

	HugepageLimits []HugepageLimit // sizes with a limit only
	PidsLimit      int64           // -1: none
}

func unlimited() *Limits {
	return &Limits{CPUQuota: -1, MemoryLimitBytes: -1, MemorySwapLimitBytes: -1, PidsLimit: -1}
}

// noLimitV1 is the least value that v1's memory controller reports for "no
// limit": the greatest int64, rounded down to whole pages of up to 1 MiB.
const noLimitV1 = 1<<63 - 1<<20

// Limits reads the group's limits from the kernel.
func (g *Group) Limits() (*Limits, error) {
	r := reader{g: g}
	l := unlimited()
	r.cpu(l)
	r.memory(l)
	l.CpusetCPUs = r.cpuset("cpuset.cpus")
	l.CpusetMems = r.cpuset("cpuset.mems")
	l.PidsLimit = r.number("pids", "pids.max")
	for _, size := range g.h.pageSizes {
		file := "hugetlb." + size + ".limit_in_bytes"
		if g.h.onV2("hugetlb") {
			file = "hugetlb." + size + ".max"
		}
		if n := r.number("hugetlb", file); n >= 0 && n < noLimitV1 {
			l.HugepageLimits = append(l.HugepageLimits, HugepageLimit{PageSize: size, Limit: uint64(n)})
		}
	}
	if r.err != nil {
		return nil, fmt.Errorf("read limits of cgroup %s: %w", g.path, r.err)
	}
	return l, nil
}

// reader reads a group's files and keeps the first error. A missing file is a
// controller that isn't enabled.
type reader struct {
	g   *Group
	err error
}

func (r *reader) text(controller, file string) (string, bool) {
	t := r.g.h.by[controller]
	if t == nil || r.err != nil {
		return "", false
	}
	text, err := t.root.read(r.g.path.rel + "/" + file)
	if errors.Is(err, unix.ENOENT) && r.exists(t) {
		return "", false
	}
	if err != nil {
		r.err = fmt.Errorf("%s: %w", file, err)
		return "", false
	}
	return text, true
}

// exists tells a file that is missing from a group that is.
func (r *reader) exists(t *tree) bool {
	d, err := t.root.openDir(r.g.path.rel)
	if err != nil {
		return false
	}
	d.close()
	return true
}

// number reads a file with one number, or "max", in it; -1 is none.
func (r *reader) number(controller, file string) int64 {
	text, ok := r.text(controller, file)
	if !ok {
		return -1
	}
	return r.parse(file, text)
}

func (r *reader) parse(file, text string) int64 {
	if text == "max" {
		return -1
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("%s: %w", file, err)
	}
	return n
}

func (r *reader) cpu(l *Limits) {
	if !r.g.h.onV2("cpu") {
		l.CPUShares = uint64(max(r.number("cpu", "cpu.shares"), 0))
		l.CPUQuota = r.number("cpu", "cpu.cfs_quota_us")
		l.CPUPeriod = max(r.number("cpu", "cpu.cfs_period_us"), 0)
		return
	}
	if weight := r.number("cpu", "cpu.weight"); weight > 0 {
		l.CPUWeight = uint64(weight)
		l.CPUShares = sharesOf(l.CPUWeight)
	}
	if text, ok := r.text("cpu", "cpu.max"); ok {
		quota, period, _ := strings.Cut(text, " ")
		l.CPUQuota = r.parse("cpu.max", quota)
		l.CPUPeriod = r.parse("cpu.max", period)
	}
}

func (r *reader) memory(l *Limits) {
	if !r.g.h.onV2("memory") {
		l.MemoryLimitBytes = noneFromV1(r.number("memory", "memory.limit_in_bytes"))
		l.MemorySwapLimitBytes = noneFromV1(r.number("memory", "memory.memsw.limit_in_bytes"))
		return
	}
	l.MemoryLimitBytes = r.number("memory", "memory.max")
	if swap := r.number("memory", "memory.swap.max"); swap >= 0 && l.MemoryLimitBytes >= 0 {
		l.MemorySwapLimitBytes = l.MemoryLimitBytes + swap
	}
}

func (r *reader) cpuset(file string) string {
	if r.g.h.onV2("cpuset") {
		file += ".effective"
	}
	list, _ := r.text("cpuset", file)
	return list
}

func noneFromV1(n int64) int64 {
	if n >= noLimitV1 {
		return -1
	}
	return n
}
