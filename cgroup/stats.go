package cgroup

import "time"

// Stats is what a cgroup and all cgroups below it use, with the meaning that
// CRI's ContainerStats and cadvisor give the names. A part that no controller
// counts is nil.
type Stats struct {
	// Time is when the CPU was looked at, the first of what is read. All else is read within microseconds.
	Time   time.Time
	CPU    *CPUStats
	Memory *MemoryStats
	Swap   *SwapStats // nil also where the kernel doesn't account for swap
	// Tasks are processes and threads, which take a pid each. Only a Meter of Hierarchy.Meter reads it.
	Tasks *uint64

	// Pressure stall information, nil where the kernel has none (no v2 tree, or
	// booted with psi=0).
	CPUPressure, MemoryPressure, IOPressure *Pressure
}

// CPUStats are in nanoseconds of one CPU; all CPUs are added up.
type CPUStats struct {
	Usage uint64 // since the cgroup was made
	// Rate is in nanoseconds a second, over a time that ends now: since the last reading but as a rule not less than
	// rateTurn. Nil at the first reading, and in the rateLeast after it.
	Rate *uint64
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

// Stats reads the group's use. A group that is gone, or that Remove was called
// for, is fs.ErrNotExist: no counter ever reads 0 because its cgroup went away
// meanwhile.
func (g *Group) Stats() (*Stats, error) { return g.meter.Read() }

const (
	// rateTurn is how far apart the readings are between which a rate is taken, unless they are seldom. Several callers of different
	// habits thus don't shorten each other's time to nothing.
	rateTurn = time.Second
	// rateLeast is the shortest time that a rate is taken over: the kernel's counter moves by ticks, of 1 to 10 ms.
	rateLeast = 100 * time.Millisecond
)

// cpuRate makes a rate of a counter.
type cpuRate struct {
	// base is at least rateTurn before last; its time is zero as long as there was one reading only.
	base, last cpuReading
}

type cpuReading struct {
	at    time.Time
	usage uint64
}

func (r *cpuRate) add(now cpuReading) *uint64 {
	if r.last.at.IsZero() || now.usage < r.last.usage {
		*r = cpuRate{last: now}
		return nil
	}
	if now.at.Sub(r.last.at) >= rateTurn {
		r.base, r.last = r.last, now
	}
	from := r.base
	if from.at.IsZero() {
		from = r.last
	}
	took := now.at.Sub(from.at)
	if took < rateLeast {
		return nil
	}
	rate := uint64(float64(now.usage-from.usage) / took.Seconds())
	return &rate
}
