package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/cgroups/v3"
	"github.com/containerd/cgroups/v3/cgroup1"
	statsv1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	"github.com/containerd/cgroups/v3/cgroup2"
)

// The library's word on the layout and ours agree.
func TestModeOracle(t *testing.T) {
	want := map[cgroups.CGMode]Mode{cgroups.Legacy: V1, cgroups.Hybrid: Hybrid, cgroups.Unified: V2}[cgroups.Mode()]
	if got := open(t, top).Mode(); got != want {
		t.Errorf("mode %v, containerd's library says %v", got, want)
	}
}

// reading is what the library and we both can tell of a cgroup.
type reading struct {
	cpu, memory, workingSet, rss, faults uint64
	tasks                                uint64
	limit, pidsLimit                     int64
}

// oracle reads the group by the library.
func oracle(t *testing.T, g *Group) reading {
	t.Helper()
	if g.h.Mode() == V2 {
		m, err := cgroup2.Load(g.Path().String())
		if err != nil {
			t.Fatal(err)
		}
		s, err := m.StatFiltered(cgroup2.StatCPU | cgroup2.StatMemory | cgroup2.StatPids)
		if err != nil {
			t.Fatal(err)
		}
		return reading{
			cpu: s.CPU.UsageUsec * 1000, memory: s.Memory.Usage, workingSet: s.Memory.Usage - s.Memory.InactiveFile, rss: s.Memory.Anon, faults: s.Memory.Pgfault,
			tasks: s.Pids.Current, limit: noneFromMax(s.Memory.UsageLimit), pidsLimit: noneFromMax(s.Pids.Limit),
		}
	}
	s := &statsv1.Metrics{CPU: &statsv1.CPUStat{Usage: &statsv1.CPUUsage{}, Throttling: &statsv1.Throttle{}}}
	at := g.Path().String()
	err := errors.Join(
		cgroup1.NewCpuacct(top).Stat(at, s),
		cgroup1.NewMemory(top, cgroup1.IgnoreModules("kmem", "kmem.tcp"), cgroup1.OptionalSwap()).Stat(at, s),
		cgroup1.NewPids(top).Stat(at, s),
	)
	if err != nil {
		t.Fatal(err)
	}
	return reading{
		cpu: s.CPU.Usage.Total, memory: s.Memory.Usage.Usage, workingSet: s.Memory.Usage.Usage - s.Memory.TotalInactiveFile, rss: s.Memory.TotalRSS,
		faults: s.Memory.TotalPgFault, tasks: s.Pids.Current, limit: noneFromV1(int64(s.Memory.Usage.Limit)), pidsLimit: int64(s.Pids.Limit),
	}
}

// between: what one reader saw while another looked before and after it. The kernel adds up what the CPUs counted in batches, some pages late.
func between(x, before, after uint64) bool {
	return x+mib >= min(before, after) && x <= max(before, after)+mib
}

func TestStats(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		r := everything(t, h)
		r.CPUQuota = -1
		g := create(t, h, path(t, "stats"), r)
		c := start(t, g, fmt.Sprintf("alloc %d", 32*mib))
		if line := c.line(t); line != "allocated" {
			t.Fatal(line)
		}
		before := oracle(t, g)
		s, err := g.Stats()
		if err != nil {
			t.Fatal(err)
		}
		after := oracle(t, g)
		if s.CPU == nil || s.CPU.Usage < before.cpu || s.CPU.Usage > after.cpu || before.cpu == 0 {
			t.Errorf("CPU %+v, containerd's library has %d before and %d after", s.CPU, before.cpu, after.cpu)
		}
		if s.CPU.Rate != nil {
			t.Errorf("a rate of %d from one reading", *s.CPU.Rate)
		}
		m := s.Memory
		if m == nil {
			t.Fatalf("stats %+v", s)
		}
		if !between(m.Usage, before.memory, after.memory) || !between(m.WorkingSet, before.workingSet, after.workingSet) || !between(m.RSS, before.rss, after.rss) ||
			m.RSS < 32*mib || m.PageFaults < before.faults {
			t.Errorf("memory %+v\nby the library %+v before and %+v after", m, before, after)
		}
		if m.Limit != 64*mib || before.limit != 64*mib || before.pidsLimit != 100 {
			t.Errorf("limit %d; by the library %d bytes and %d pids", m.Limit, before.limit, before.pidsLimit)
		}
		if s.Tasks != nil {
			t.Errorf("a group's stats count %d tasks, which costs a file that nobody asks for", *s.Tasks)
		}
		if s.Swap != nil && (s.Swap.Limit != 0 || s.Swap.Usage > mib) {
			t.Errorf("swap %+v, and none is allowed", s.Swap)
		}
		hasPSI := h.v2 != nil && h.v2.root.has(g.path.rel+"/cpu.pressure")
		if (s.CPUPressure != nil) != hasPSI || (s.MemoryPressure != nil) != hasPSI || (s.IOPressure != nil) != hasPSI {
			t.Errorf("pressure %v %v %v, the kernel has it: %v", s.CPUPressure, s.MemoryPressure, s.IOPressure, hasPSI)
		}
		// The pod's own cgroup, and one without limits.
		parent := h.Meter(g.Path().Parent())
		defer parent.Close()
		pod, err := parent.Read()
		if err != nil || pod.CPU == nil || pod.CPU.Usage < s.CPU.Usage || pod.Tasks == nil || *pod.Tasks < before.tasks || before.tasks == 0 {
			t.Errorf("of the parent %+v, %v; the library counts %d tasks in the group", pod, err, before.tasks)
		}
		plain, err := create(t, h, path(t, "statsplain"), nil).Stats()
		if err != nil || plain.Memory != nil && plain.Memory.Limit != -1 {
			t.Errorf("without limits %+v, %v", plain, err)
		}
	})
}

// A group that is gone is told so, and doesn't read as one that used nothing, nor as another that has its path: whether or not its files
// were open before.
func TestStatsGone(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		for _, read := range []bool{true, false} {
			if !read && h.v2 == nil {
				continue // only a v2 directory tells one cgroup from the next of its path before any file was opened
			}
			g, err := h.Create(t.Context(), path(t, "statsgone"), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := h.RemoveMade(g.Path().Parent(), g.Made()); err != nil {
					t.Error(err)
				}
				g.Close()
			}()
			if read {
				if _, err := g.Stats(); err != nil {
					t.Fatal(err)
				}
			}
			// As somebody else would remove it, who doesn't tell the Group.
			if err := g.remove(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s, err := g.Stats(); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("stats of a removed group: %+v, %v", s, err)
			}
			other := create(t, h, g.Path(), nil)
			if s, err := g.Stats(); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("stats of a removed group whose path another one has: %+v, %v", s, err)
			}
			if _, err := other.Stats(); err != nil {
				t.Error(err)
			}
			if err := other.Remove(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s, err := other.Stats(); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("stats after Remove: %+v, %v", s, err)
			}
		}
	})
}

// A Meter of a path reads whichever cgroup has it, and takes no rate from one to the other.
func TestMeterFollowsPath(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		p := path(t, "followed")
		m := h.Meter(p)
		defer m.Close()
		if s, err := m.Read(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("before there is one: %+v, %v", s, err)
		}
		first := create(t, h, p, nil)
		c := start(t, first, "alloc 1000000")
		if line := c.line(t); line != "allocated" {
			t.Fatal(line)
		}
		before, err := m.Read()
		if err != nil || before.CPU == nil || before.CPU.Usage == 0 {
			t.Fatalf("%+v, %v", before, err)
		}
		if err := errors.Join(first.Kill(t.Context()), first.WaitEmpty(t.Context()), first.Remove(t.Context())); err != nil {
			t.Fatal(err)
		}
		if s, err := m.Read(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("between the two: %+v, %v", s, err)
		}
		second := create(t, h, p, nil)
		s, err := m.Read()
		if err != nil || s.CPU == nil || s.CPU.Usage >= before.CPU.Usage || s.CPU.Rate != nil {
			t.Errorf("of the second: %+v, %v", s, err)
		}
		if err := second.Remove(t.Context()); err != nil {
			t.Fatal(err)
		}
		// One that has used more than the last when it is first looked at.
		c = start(t, create(t, h, p, nil), "alloc 1000000")
		if line := c.line(t); line != "allocated" {
			t.Fatal(line)
		}
		time.Sleep(rateLeast)
		if s, err := m.Read(); err != nil || s.CPU == nil || s.CPU.Usage == 0 || s.CPU.Rate != nil {
			t.Errorf("of the third: %+v, %v", s, err)
		}
	})
}

// A controller that is enabled only later is read from then on.
func TestStatsOfLateController(t *testing.T) {
	h := open(t, top)
	if !h.onV2("memory") {
		t.Skip("a v1 controller is always enabled")
	}
	const control = "cgroup.subtree_control"
	// Parents of another owner, for whom nothing is enabled.
	p := path(t, "late", "group")
	for n := 1; n < p.depth(); n++ {
		if err := h.v2.root.mkdir(p.ancestor(n).rel); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.v2.root.rmdir(p.ancestor(n).rel) })
	}
	g := create(t, h, p, nil)
	s, err := g.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if s.Memory != nil {
		t.Fatalf("memory %+v without the controller", s.Memory)
	}
	for n := range p.depth() {
		if err := h.v2.root.write(filepath.Join(".", p.ancestor(n).rel, control), "+memory"); err != nil {
			t.Fatal(err)
		}
	}
	before := openFiles(t)
	if s, err := g.Stats(); err != nil || s.Memory == nil {
		t.Errorf("%+v, %v", s, err)
	}
	if now := openFiles(t); now <= before {
		t.Error("what came late isn't kept open")
	}
}

// What a Meter opens, it closes; and beyond the budget it keeps nothing open.
func TestMeterFiles(t *testing.T) {
	h := open(t, top)
	// With a limit for each controller, so that all are enabled.
	g := create(t, h, path(t, "meterfiles"), everything(t, h))
	before := openFiles(t)
	for range 3 {
		if _, err := g.Stats(); err != nil {
			t.Fatal(err)
		}
	}
	kept := openFiles(t) - before
	if kept < 3 || kept > statFiles {
		t.Errorf("%d files kept open", kept)
	}
	if n := h.budget.open.Load(); n != int64(kept) {
		t.Errorf("%d files are counted, %d are open", n, kept)
	}
	h.budget.most = int64(kept) - 1
	if _, err := g.Stats(); err != nil {
		t.Fatal(err)
	}
	if now := openFiles(t); now != before || h.budget.open.Load() != 0 {
		t.Errorf("%d files are open beyond the budget", now-before)
	}
	if _, err := g.Stats(); err != nil {
		t.Errorf("beyond the budget: %v", err)
	}
	h.budget.most = 1000
	m := h.Meter(g.Path())
	if _, err := m.Read(); err != nil {
		t.Fatal(err)
	}
	m.Close()
	if now := openFiles(t); now != before {
		t.Errorf("%d files are open after Close", now-before)
	}
	if s, err := m.Read(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Close: %+v, %v", s, err)
	}
}

// openFiles counts the test's own.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestPressure(t *testing.T) {
	h := open(t, top)
	if h.v2 == nil || !h.v2.root.has("cpu.pressure") {
		t.Skip("this kernel has no pressure stall information")
	}
	mounts, err := cgroupMounts(top)
	if err != nil {
		t.Fatal(err)
	}
	for _, mount := range mounts {
		if !mount.v2 {
			continue
		}
		g := create(t, h, path(t, "psi"), nil)
		start(t, g, "sleep")
		m, err := cgroup2.Load(g.Path().String(), cgroup2.WithMountpoint(filepath.Clean(mount.point)))
		if err != nil {
			t.Fatal(err)
		}
		before, err := m.StatFiltered(cgroup2.StatCPU)
		if err != nil {
			t.Fatal(err)
		}
		s, err := g.Stats()
		if err != nil {
			t.Fatal(err)
		}
		after, err := m.StatFiltered(cgroup2.StatCPU)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.CPUPressure.Some.Total; got < before.CPU.PSI.Some.Total*1000 || got > after.CPU.PSI.Some.Total*1000 {
			t.Errorf("some total %d ns, the library has %d and %d µs", got, before.CPU.PSI.Some.Total, after.CPU.PSI.Some.Total)
		}
	}
}

// BenchmarkStats is what one container costs whoever asks for its use, and what it would cost if its files were opened each time.
func BenchmarkStats(b *testing.B) {
	h := open(b, top)
	g := create(b, h, path(b, "bench", "stats"), everything(b, h))
	for name, after := range map[string]func(){"kept": func() {}, "opened": g.meter.closeFiles} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := g.Stats(); err != nil {
					b.Fatal(err)
				}
				after()
			}
		})
	}
}

// noneFromMax reads the library's number for "max".
func noneFromMax(n uint64) int64 {
	if n > math.MaxInt64 {
		return -1
	}
	return int64(n)
}
