package cgroup

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUpdate(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		r := everything(t, h)
		g := create(t, h, path(t, "update"), r)
		start(t, g, "sleep")
		for _, size := range []int64{128, 32, 256, 64} {
			for _, quota := range []int64{20000, 40000, 10000} {
				n := &Resources{MemoryLimitBytes: size * mib, MemorySwapLimitBytes: size * mib, CPUQuota: quota, CPUPeriod: 5 * quota, CPUShares: 2 * size, PidsLimit: size}
				if err := g.Update(t.Context(), n); err != nil {
					t.Fatal(err)
				}
				l, err := g.Limits()
				if err != nil || l.MemoryLimitBytes != size*mib || l.CPUQuota != quota || l.CPUPeriod != 5*quota || l.PidsLimit != size || l.CpusetCPUs != "0" {
					t.Errorf("limits %+v, %v", l, err)
				}
			}
		}
		none := &Resources{MemoryLimitBytes: -1, MemorySwapLimitBytes: -1, CPUQuota: -1, PidsLimit: -1}
		if err := g.Update(t.Context(), none); err != nil {
			t.Error(err)
		}
		if l, err := g.Limits(); err != nil || l.MemoryLimitBytes != -1 || l.MemorySwapLimitBytes != -1 || l.CPUQuota != -1 || l.PidsLimit != -1 {
			t.Errorf("limits %+v, %v", l, err)
		}
	})
}

// Each write in turn fails, by a bad value put in its place; the group then
// reads as before.
func TestUpdateAllOrNothing(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		r := everything(t, h)
		g := create(t, h, path(t, "nothing"), r)
		now, err := g.Limits()
		if err != nil {
			t.Fatal(err)
		}
		next := &Resources{
			CPUPeriod: 100000, CPUQuota: 90000, CPUShares: 500, MemoryLimitBytes: 128 * mib, MemorySwapLimitBytes: 128 * mib, PidsLimit: 50,
			CpusetCPUs: "0", CpusetMems: "0",
		}
		settings, err := h.plan(next, now)
		if err != nil || len(settings) < 6 {
			t.Fatal(settings, err)
		}
		for k := range settings {
			broken := append([]setting(nil), settings...)
			broken[k].value, broken[k].mayLack = "nonsense", false
			undo, err := h.apply(g.path, broken)
			if err == nil {
				t.Errorf("step %d, %s: nonsense was taken", k, settings[k])
			}
			if err := h.putBack(g.path, undo); err != nil {
				t.Errorf("step %d: %v", k, err)
			}
			if l, err := g.Limits(); err != nil || !reflect.DeepEqual(l, now) {
				t.Errorf("step %d, %s:\nlimits %+v, %v\nbefore %+v", k, settings[k], l, err, now)
			}
		}
		next.CpusetMems = "60"
		if err := g.Update(t.Context(), next); err == nil || !strings.Contains(err.Error(), "cpuset.mems") {
			t.Errorf("Update to a memory node that isn't there: %v", err)
		}
		if l, err := g.Limits(); err != nil || !reflect.DeepEqual(l, now) {
			t.Errorf("limits %+v, %v\nbefore %+v", l, err, now)
		}
	})
}

// A memory limit below what is in use is refused, whole, with both numbers.
func TestUpdateBelowUse(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		r := everything(t, h)
		r.MemoryLimitBytes, r.MemorySwapLimitBytes = 128*mib, 128*mib
		g := create(t, h, path(t, "full"), r)
		c := start(t, g, fmt.Sprintf("alloc %d", 64*mib))
		if line := c.line(t); line != "allocated" {
			t.Fatal(line)
		}
		before, err := g.Limits()
		if err != nil {
			t.Fatal(err)
		}
		err = g.Update(t.Context(), &Resources{CPUShares: 7, PidsLimit: 9, MemoryLimitBytes: 16 * mib, MemorySwapLimitBytes: 16 * mib})
		if !errors.Is(err, ErrBelowUse) || !errors.Is(err, unix.EBUSY) {
			t.Errorf("Update: %v", err)
		}
		for _, says := range []string{"memory", fmt.Sprintf("%d bytes were asked for", 16*mib), "are in use", "ask for more"} {
			if err != nil && !strings.Contains(err.Error(), says) {
				t.Errorf("Update: %v; want %q", err, says)
			}
		}
		after, err := g.Limits()
		if err != nil || !reflect.DeepEqual(before, after) {
			t.Errorf("limits %+v, %v\nbefore %+v", after, err, before)
		}
		if n, err := g.OOMKills(); n != 0 || err != nil {
			t.Errorf("OOM kills %d, %v", n, err)
		}
		if err := g.Update(t.Context(), &Resources{MemoryLimitBytes: 100 * mib, MemorySwapLimitBytes: 100 * mib}); err != nil {
			t.Error(err)
		}
	})
}

func TestUnified(t *testing.T) {
	h := open(t, top)
	need(t, h, "memory")
	if h.Mode() != V2 {
		_, err := h.Create(t.Context(), path(t, "unified"), &Resources{Unified: map[string]string{"memory.high": "1"}})
		if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "memory.high") {
			t.Errorf("on %v: %v", h.Mode(), err)
		}
		return
	}
	g := create(t, h, path(t, "unified"), &Resources{MemoryLimitBytes: 64 * mib, Unified: map[string]string{"memory.high": "8388608", "memory.oom.group": "1", "memory.max": "33554432"}})
	want := map[string]string{"memory.high": "8388608", "memory.oom.group": "1", "memory.max": "33554432"}
	got := map[string]string{}
	for file := range want {
		value, err := h.v2.root.read(g.path.rel + "/" + file)
		if err != nil {
			t.Error(err)
		}
		got[file] = value
	}
	if !maps.Equal(got, want) {
		t.Errorf("files %v, want %v", got, want)
	}
	err := g.Update(t.Context(), &Resources{Unified: map[string]string{"memory.high": "max", "memory.low": "x"}})
	if value, _ := h.v2.root.read(g.path.rel + "/memory.high"); err == nil || value != "8388608" {
		t.Errorf("failed Update: %v, memory.high %s", err, value)
	}
	if err := g.Update(t.Context(), &Resources{Unified: map[string]string{"io.max": "8:0 rbps=1"}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("Update of io.max: %v", err)
	}
}

// On v2, controllers go no further than they must, and a parent with processes
// is named.
func TestEnable(t *testing.T) {
	h := open(t, top)
	if h.Mode() != V2 {
		t.Skipf("the machine is %v: controllers are enabled on v2 only", h.Mode())
	}
	need(t, h, "memory", "pids")
	foreign := path(t, "foreign")
	for _, p := range []Path{foreign.Parent(), foreign} {
		if err := h.v2.root.mkdir(p.rel); err != nil {
			t.Fatal(err)
		}
		// After what create makes below: clean-ups run last first.
		t.Cleanup(func() {
			if err := h.v2.root.rmdir(p.rel); err != nil {
				t.Error(err)
			}
		})
	}
	enabled := func(p Path) string {
		text, err := h.v2.root.read(p.rel + "/cgroup.subtree_control")
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	pod, _ := foreign.Child("pod")
	leaf, _ := pod.Child("c")
	g := create(t, h, leaf, &Resources{PidsLimit: 5})
	if got := enabled(foreign); got != "pids" {
		t.Errorf("in a foreign cgroup %q is enabled, want pids", got)
	}
	if got := enabled(pod); !strings.Contains(got, "pids") {
		t.Errorf("in our own cgroup %q is enabled, want pids", got)
	}
	if err := g.Update(t.Context(), &Resources{MemoryLimitBytes: 64 * mib}); err != nil {
		t.Errorf("Update with a controller not enabled yet: %v", err)
	}
	busy := create(t, h, path(t, "busy"), nil)
	start(t, busy, "sleep")
	below, _ := busy.Path().Child("below")
	if _, err := h.Create(t.Context(), below, &Resources{PidsLimit: 5}); !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), "holds processes itself") {
		t.Errorf("Create in a cgroup with processes: %v", err)
	}
	if got := enabled(busy.Path()); got != "" {
		t.Errorf("in a cgroup with processes %q is enabled", got)
	}
	create(t, h, below, nil)
	// Its owner made it the root of a threaded subtree.
	if err := h.v2.root.write(busy.Path().rel+"/cgroup.subtree_control", "+pids"); err != nil {
		t.Fatal(err)
	}
	other, _ := busy.Path().Child("other")
	if _, err := h.Create(t.Context(), other, nil); !errors.Is(err, unix.EOPNOTSUPP) || !strings.Contains(err.Error(), "domain invalid") {
		t.Errorf("Create in a threaded subtree: %v", err)
	}
}
