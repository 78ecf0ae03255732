package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"

	"github.com/containerd/cgroups/v3/cgroup2"
	"golang.org/x/sys/unix"
)

// Stats is what a cgroup and all cgroups below it use, with the meaning that
// CRI's ContainerStats and cadvisor give the names. A part that no controller
// counts is nil.
type Stats struct {
	CPUUsage uint64 // ns of all CPUs, since the cgroup was made
	Memory   *MemoryStats
	Swap     *SwapStats // nil also where the kernel doesn't account for swap
	Tasks    *uint64    // processes and threads

	// Pressure stall information, nil where the kernel has none (no v2 tree, or
	// booted with psi=0).
	CPUPressure, MemoryPressure, IOPressure *Pressure
}

// MemoryStats are in bytes, but for the two counters.
type MemoryStats struct {
	Usage      uint64 // with the page cache
	WorkingSet uint64 // usage without the file pages that were not used for long
	RSS        uint64 // anonymous memory
	Limit      int64  // the cgroup's own; -1: none

	PageFaults      uint64 // since the cgroup was made
	MajorPageFaults uint64
}

// SwapStats are in bytes.
type SwapStats struct {
	Usage uint64
	Limit int64 // the cgroup's own, of swap alone; -1: none
}

// Pressure is one file of the kernel's pressure stall information
// (Documentation/accounting/psi.rst).
type Pressure struct {
	Some, Full PressureLine
}

// PressureLine tells for how long tasks stood still.
type PressureLine struct {
	Avg10, Avg60, Avg300 float64 // percent of the last 10, 60 and 300 seconds
	Total                uint64  // ns
}

// Stats reads the group's use. A group that is gone is fs.ErrNotExist.
func (g *Group) Stats() (*Stats, error) { return g.h.Stats(g.path) }

// Stats reads the use of the cgroup p, a pod's for example: 8 to 15 files, no
// walk. A cgroup that is gone is fs.ErrNotExist: no counter ever reads 0 because
// its cgroup went away meanwhile.
func (h *Hierarchy) Stats(p Path) (*Stats, error) {
	s := &Stats{}
	err := h.readStats(p, s)
	if gone(err) {
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read the use of cgroup %s: %w", p, err)
	}
	return s, nil
}

func (h *Hierarchy) readStats(p Path, s *Stats) error {
	r := reader{g: &Group{h: h, path: p}}
	if h.by["cpuacct"] != nil {
		s.CPUUsage = r.count("cpuacct", "cpuacct.usage")
	}
	if !h.onV2("memory") {
		r.memoryStats(s)
	}
	if !h.onV2("pids") {
		s.Tasks = r.countIfThere("pids", "pids.current")
	}
	if r.err != nil || h.v2 == nil {
		return r.err
	}
	d, err := h.v2.root.openDir(p.rel)
	if err != nil {
		return fmt.Errorf("open the v2 directory: %w", err)
	}
	defer d.close()
	if err := h.readStatsV2(d, s); err != nil {
		return err
	}
	if s.CPUPressure, err = d.pressure("cpu.pressure"); err != nil {
		return err
	}
	if s.MemoryPressure, err = d.pressure("memory.pressure"); err != nil {
		return err
	}
	if s.IOPressure, err = d.pressure("io.pressure"); err != nil {
		return err
	}
	if !d.has("cgroup.procs") {
		return fmt.Errorf("it was removed meanwhile: %w", fs.ErrNotExist)
	}
	return nil
}

// readStatsV2 lets containerd's library read what the v2 tree counts, below the
// fd of the cgroup. The library takes a missing file for 0, so what is missing is
// looked for here, and that the cgroup is still there at the end, by readStats.
func (h *Hierarchy) readStatsV2(d dir, s *Stats) error {
	mask := cgroup2.StatMask(0)
	if h.by["cpuacct"] == nil {
		mask |= cgroup2.StatCPU
	}
	memory := h.onV2("memory") && d.has("memory.current")
	if memory {
		mask |= cgroup2.StatMemory
	}
	tasks := h.onV2("pids") && d.has("pids.current")
	if tasks {
		mask |= cgroup2.StatPids
	}
	if mask == 0 {
		return nil
	}
	m, err := cgroup2.Load("/", cgroup2.WithMountpoint("/proc/self/fd/"+strconv.Itoa(int(d))))
	if err != nil {
		return err
	}
	got, err := m.StatFiltered(mask)
	if err != nil {
		return err
	}
	if mask&cgroup2.StatCPU != 0 {
		s.CPUUsage = got.GetCPU().GetUsageUsec() * 1000
	}
	if tasks {
		n := got.GetPids().GetCurrent()
		s.Tasks = &n
	}
	if !memory {
		return nil
	}
	use := got.GetMemory()
	s.Memory = &MemoryStats{
		Usage: use.GetUsage(), WorkingSet: without(use.GetUsage(), use.GetInactiveFile()), RSS: use.GetAnon(), Limit: noneFromMax(use.GetUsageLimit()),
		PageFaults: use.GetPgfault(), MajorPageFaults: use.GetPgmajfault(),
	}
	if d.has("memory.swap.current") {
		s.Swap = &SwapStats{Usage: use.GetSwapUsage(), Limit: noneFromMax(use.GetSwapLimit())}
	}
	return nil
}

// memoryStats reads v1's memory controller. The library would open 17 files for
// it, of which three are needed, or five with swap.
func (r *reader) memoryStats(s *Stats) {
	text, ok := r.text("memory", "memory.stat")
	if !ok {
		return
	}
	stat := map[string]uint64{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(name, "total_") {
			stat[name], _ = strconv.ParseUint(value, 10, 64)
		}
	}
	m := &MemoryStats{
		Usage: r.count("memory", "memory.usage_in_bytes"), RSS: stat["total_rss"], Limit: noneFromV1(r.number("memory", "memory.limit_in_bytes")),
		PageFaults: stat["total_pgfault"], MajorPageFaults: stat["total_pgmajfault"],
	}
	m.WorkingSet = without(m.Usage, stat["total_inactive_file"])
	s.Memory = m
	both := r.countIfThere("memory", "memory.memsw.usage_in_bytes")
	if both == nil {
		return
	}
	s.Swap = &SwapStats{Usage: without(*both, m.Usage), Limit: noneFromV1(r.number("memory", "memory.memsw.limit_in_bytes"))}
	if s.Swap.Limit != -1 && m.Limit != -1 {
		s.Swap.Limit -= m.Limit
	}
}

// count reads a file with one number in it; 0 where there is none.
func (r *reader) count(controller, file string) uint64 {
	if n := r.countIfThere(controller, file); n != nil {
		return *n
	}
	return 0
}

func (r *reader) countIfThere(controller, file string) *uint64 {
	text, ok := r.text(controller, file)
	if !ok {
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		r.err = fmt.Errorf("%s: %w", file, err)
		return nil
	}
	return &n
}

// pressure reads a file of PSI; nil where the kernel has none or it is off.
func (d dir) pressure(file string) (*Pressure, error) {
	text, err := d.read(file)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	p := &Pressure{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		to := &p.Some
		if len(fields) > 0 && fields[0] == "full" {
			to = &p.Full
		}
		for _, field := range fields {
			if err := to.set(field); err != nil {
				return nil, fmt.Errorf("%s: line %q: %w", file, strings.TrimSpace(line), err)
			}
		}
	}
	return p, nil
}

// set takes one NAME=VALUE; what it doesn't know, it leaves.
func (l *PressureLine) set(field string) (err error) {
	name, value, _ := strings.Cut(field, "=")
	switch name {
	case "avg10":
		l.Avg10, err = strconv.ParseFloat(value, 64)
	case "avg60":
		l.Avg60, err = strconv.ParseFloat(value, 64)
	case "avg300":
		l.Avg300, err = strconv.ParseFloat(value, 64)
	case "total":
		l.Total, err = strconv.ParseUint(value, 10, 64)
		l.Total *= 1000 // the file's are µs
	}
	return err
}

func (d dir) has(file string) bool {
	var st unix.Stat_t
	return unix.Fstatat(int(d), file, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
}

// without is a difference of two counters that were not read at the same moment.
func without(whole, part uint64) uint64 { return whole - min(whole, part) }

// noneFromMax reads the library's number for "max".
func noneFromMax(n uint64) int64 {
	if n > math.MaxInt64 {
		return -1
	}
	return int64(n)
}
