package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

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

// near: counters move by some pages while two readers look one after the other.
func near(a, b uint64) bool { return max(a, b)-min(a, b) <= mib }

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
		if s.CPUUsage < before.cpu || s.CPUUsage > after.cpu || before.cpu == 0 {
			t.Errorf("CPU %d, containerd's library has %d before and %d after", s.CPUUsage, before.cpu, after.cpu)
		}
		m := s.Memory
		if m == nil || s.Tasks == nil {
			t.Fatalf("stats %+v", s)
		}
		if !near(m.Usage, before.memory) || !near(m.WorkingSet, before.workingSet) || !near(m.RSS, before.rss) || m.RSS < 32*mib || m.PageFaults < before.faults {
			t.Errorf("memory %+v\nby the library %+v", m, before)
		}
		if m.Limit != 64*mib || before.limit != 64*mib || before.pidsLimit != 100 {
			t.Errorf("limit %d; by the library %d bytes and %d pids", m.Limit, before.limit, before.pidsLimit)
		}
		if *s.Tasks == 0 || before.tasks == 0 {
			t.Errorf("tasks %d, by the library %d", *s.Tasks, before.tasks)
		}
		if s.Swap != nil && (s.Swap.Limit != 0 || s.Swap.Usage > mib) {
			t.Errorf("swap %+v, and none is allowed", s.Swap)
		}
		hasPSI := h.v2 != nil && h.v2.root.has(g.path.rel+"/cpu.pressure")
		if (s.CPUPressure != nil) != hasPSI || (s.MemoryPressure != nil) != hasPSI || (s.IOPressure != nil) != hasPSI {
			t.Errorf("pressure %v %v %v, the kernel has it: %v", s.CPUPressure, s.MemoryPressure, s.IOPressure, hasPSI)
		}
		// The pod's own cgroup, and one without limits.
		pod, err := h.Stats(g.Path().Parent())
		if err != nil || pod.CPUUsage < s.CPUUsage {
			t.Errorf("of the parent %+v, %v", pod, err)
		}
		plain, err := create(t, h, path(t, "statsplain"), nil).Stats()
		if err != nil || plain.Memory != nil && plain.Memory.Limit != -1 {
			t.Errorf("without limits %+v, %v", plain, err)
		}
	})
}

// A group that is gone is told so, and doesn't read as one that used nothing.
func TestStatsGone(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		g := create(t, h, path(t, "statsgone"), nil)
		if err := g.Remove(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s, err := g.Stats(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("stats of a removed group: %+v, %v", s, err)
		}
	})
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

func TestParsePressure(t *testing.T) {
	at := t.TempDir()
	d, err := openDir(at)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	text := "some avg10=1.50 avg60=0.25 avg300=100.00 total=7\nfull avg10=0.00 avg60=0.00 avg300=3.00 total=5 new=x\n"
	want := Pressure{Some: PressureLine{1.5, 0.25, 100, 7000}, Full: PressureLine{0, 0, 3, 5000}}
	for text, want := range map[string]*Pressure{text: &want, "some avg10=1.0.0 total=1\n": nil, "full total=-1\n": nil} {
		if err := os.WriteFile(filepath.Join(at, "p"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := d.pressure("p")
		if (err == nil) != (want != nil) || want != nil && *got != *want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	if p, err := d.pressure("missing"); p != nil || err != nil {
		t.Errorf("a missing file: %v, %v", p, err)
	}
}

func BenchmarkStats(b *testing.B) {
	h := open(b, top)
	g := create(b, h, path(b, "bench", "stats"), everything(b, h))
	for b.Loop() {
		if _, err := g.Stats(); err != nil {
			b.Fatal(err)
		}
	}
}
