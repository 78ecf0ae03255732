package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"testing"
)

func TestCreate(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		r := everything(t, h)
		p := path(t, "pod", "a")
		g := create(t, h, p, r)
		if (g.V2Dir() == nil) != (h.Mode() == V1) {
			t.Errorf("V2Dir is %v in mode %v", g.V2Dir(), h.Mode())
		}
		l, err := g.Limits()
		if err != nil {
			t.Fatal(err)
		}
		want := &Limits{
			CPUShares: 1024, CPUQuota: 20000, CPUPeriod: 50000, MemoryLimitBytes: 64 * mib, MemorySwapLimitBytes: l.MemorySwapLimitBytes,
			CpusetCPUs: "0", CpusetMems: "0", PidsLimit: 100, HugepageLimits: r.HugepageLimits,
		}
		if h.Mode() == V2 {
			want.CPUWeight = 100
		}
		if !reflect.DeepEqual(l, want) {
			t.Errorf("limits %+v\n  want %+v", l, want)
		}
		if swap := l.MemorySwapLimitBytes; swap != 64*mib && swap != -1 {
			t.Errorf("memory+swap limit %d", swap)
		}
		if _, err := h.Create(t.Context(), p, r); !errors.Is(err, fs.ErrExist) {
			t.Errorf("second Create: %v", err)
		}
		again, err := h.Load(p)
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		if l2, err := again.Limits(); err != nil || !reflect.DeepEqual(l, l2) {
			t.Errorf("limits after Load and a failed Create %+v, %v", l2, err)
		}
	})
}

func TestCreateUnlimited(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		g := create(t, h, path(t, "plain"), nil)
		l, err := g.Limits()
		if err != nil || l.CPUQuota != -1 || l.MemoryLimitBytes != -1 || l.MemorySwapLimitBytes != -1 || l.PidsLimit != -1 {
			t.Errorf("limits %+v, %v", l, err)
		}
		if n, err := g.OOMKills(); n != 0 || err != nil {
			t.Errorf("OOM kills %d, %v", n, err)
		}
		start(t, g, "sleep")
	})
}

// A Create that fails leaves neither the leaf nor the parents it made.
func TestCreateFails(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		need(t, h, "cpuset", "memory")
		bad := map[string]*Resources{
			"cpu list":  {CpusetCPUs: "0-x"},
			"cpus":      {CPUShares: 5, PidsLimit: 10, CpusetCPUs: "0-4000"},
			"mems":      {CpusetMems: "0-60"},
			"page size": {HugepageLimits: []HugepageLimit{{PageSize: "3MB"}}},
			"swap":      {MemoryLimitBytes: 2 * mib, MemorySwapLimitBytes: mib},
			"unified":   {Unified: map[string]string{"memory.nothing": "1"}},
			"device":    {Devices: []DeviceRule{{Type: 'c', Access: "q"}}},
		}
		for name, r := range bad {
			p := path(t, "pod", "failed")
			g, err := h.Create(t.Context(), p, r)
			if err == nil {
				t.Errorf("%s: made %v", name, g.Path())
				continue
			}
			if !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrUnsupported) {
				t.Errorf("%s: %v", name, err)
			}
			if left := leftovers(); len(left) > 0 {
				t.Fatalf("%s: %v left %v", name, err, left)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := h.Create(ctx, path(t, "x"), nil); !errors.Is(err, context.Canceled) || len(leftovers()) > 0 {
			t.Errorf("cancelled: %v, left %v", err, leftovers())
		}
		if _, err := h.Create(t.Context(), Path{}, nil); !errors.Is(err, ErrPath) {
			t.Errorf("the root: %v", err)
		}
	})
}

// An existing leaf in one tree alone is found, and nothing made before that stays.
func TestCreateExistsInOneTree(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		last := h.trees[len(h.trees)-1]
		p := path(t, "half")
		g := create(t, h, path(t, "other"), nil)
		if err := last.root.mkdir(p.rel); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Create(t.Context(), p, nil); !errors.Is(err, fs.ErrExist) {
			t.Errorf("Create: %v", err)
		}
		for _, tr := range h.trees[:len(h.trees)-1] {
			if d, err := tr.root.openDir(p.rel); !errors.Is(err, fs.ErrNotExist) {
				d.close()
				t.Errorf("left in %s: %v", tr.name, err)
			}
		}
		// What is not whole can be loaded and removed.
		half, err := h.Load(p)
		if err != nil {
			t.Fatal(err)
		}
		defer half.Close()
		if err := errors.Join(half.Kill(t.Context()), half.WaitEmpty(t.Context()), half.Remove(t.Context()), half.Remove(t.Context())); err != nil {
			t.Error(err)
		}
		if _, err := h.Load(p); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Load of what is gone: %v", err)
		}
		if _, err := g.Limits(); err != nil {
			t.Error(err)
		}
	})
}

// A process that wrote to the join files and was cloned into the v2 directory is in
// every tree, and came there by "tasks" files: a cgroup.procs waits for the machine.
func TestJoin(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		g := create(t, h, path(t, "join"), nil)
		files, err := g.JoinFiles()
		if err != nil {
			t.Fatal(err)
		}
		defer closeJoinFiles(files)
		if len(files) != len(h.V1Mounts()) {
			t.Errorf("%d files for the trees %v", len(files), h.V1Mounts())
		}
		for _, f := range files {
			at, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.File.Fd()))
			if err != nil || !strings.HasSuffix(at, g.path.String()+"/tasks") {
				t.Errorf("%s is joined by %s, %v", f.Controllers, at, err)
			}
		}
		c := start(t, g, "sleep")
		for _, tr := range h.trees {
			pids, err := tr.root.read(g.path.rel + "/cgroup.procs")
			if err != nil || pids != fmt.Sprint(c.cmd.Process.Pid) {
				t.Errorf("in %s are %q, %v; want %d", tr.name, pids, err, c.cmd.Process.Pid)
			}
		}
	})
}

// Groups hold one fd at most, and calls give back what they open.
func TestFds(t *testing.T) {
	h := open(t, top)
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := count()
	g, err := h.Create(t.Context(), path(t, "fds"), &Resources{Devices: []DeviceRule{}})
	if err != nil {
		t.Fatal(err)
	}
	files, err := g.JoinFiles()
	if err != nil {
		t.Fatal(err)
	}
	closeJoinFiles(files)
	_, errLimits := g.Limits()
	_, errProcs := g.Procs(t.Context())
	errUpdate := g.Update(t.Context(), &Resources{Devices: []DeviceRule{{Allow: true, Type: 'c', Major: 1, Minor: 3, Access: "r"}}})
	if err := errors.Join(errLimits, errProcs, errUpdate, g.Kill(t.Context()), g.WaitEmpty(t.Context())); err != nil {
		t.Error(err)
	}
	// Two programs stay in the cache.
	if n := count() - before; n > 3 {
		t.Errorf("%d fds more with a group", n)
	}
	if err := errors.Join(g.Remove(t.Context()), h.RemoveMade(g.Path().Parent(), g.Made())); err != nil {
		t.Error(err)
	}
	g.Close()
	if n := count() - before; n > 2 {
		t.Errorf("%d fds more without a group", n)
	}
}
