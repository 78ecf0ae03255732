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
	"time"

	"golang.org/x/sys/unix"
)

const mib = 1 << 20

// everything is a value for each limit that h has.
func everything(t testing.TB, h *Hierarchy) *Resources {
	t.Helper()
	need(t, h, "cpu", "memory", "pids", "cpuset")
	r := &Resources{
		CPUPeriod: 50000, CPUQuota: 20000, CPUShares: 1024,
		MemoryLimitBytes: 64 * mib, MemorySwapLimitBytes: 64 * mib,
		CpusetCPUs: "0", CpusetMems: "0", PidsLimit: 100,
	}
	if h.by["hugetlb"] != nil {
		for _, size := range h.pageSizes {
			r.HugepageLimits = append(r.HugepageLimits, HugepageLimit{PageSize: size})
		}
	}
	return r
}

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

func TestRemoveMade(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		ctx := t.Context()
		one, err := h.Create(ctx, path(t, "a", "b", "one"), nil)
		if err != nil {
			t.Fatal(err)
		}
		two, err := h.Create(ctx, path(t, "a", "b", "two"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(one.Made()) != len(h.trees) || one.Made()[0].Top != "/"+testTop() || len(two.Made()) != 0 {
			t.Errorf("made %v and %v", one.Made(), two.Made())
		}
		parent := one.Path().Parent()
		for _, g := range []*Group{one, two} {
			if err := errors.Join(g.Remove(ctx), h.RemoveMade(parent, one.Made())); err != nil {
				t.Error(err)
			}
			g.Close()
			if left := leftovers(); (len(left) == 0) != (g == two) {
				t.Errorf("after %v: %v", g.Path(), left)
			}
		}
		if err := h.RemoveMade(parent, one.Made()); err != nil {
			t.Error(err)
		}
		if err := h.RemoveMade(parent, []Made{{"v2", "/../x"}, {"no such tree", "/x"}}); !errors.Is(err, ErrPath) {
			t.Errorf("RemoveMade with a bad record: %v", err)
		}
	})
}

// Parents come and go under concurrent Creates.
func TestParentRace(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		done := make(chan error)
		for w := range 4 {
			go func() {
				var err error
				for i := 0; i < 30 && err == nil; i++ {
					p, _ := ParsePath(fmt.Sprintf("/%s/race/%d-%d", testTop(), w, i))
					var g *Group
					if g, err = h.Create(t.Context(), p, nil); err == nil {
						err = errors.Join(g.Remove(t.Context()), h.RemoveMade(p.Parent(), g.Made()))
						g.Close()
					}
				}
				done <- err
			}()
		}
		for range 4 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		// Who made a parent that another used last leaves it to that other's caller.
		all := make([]Made, 0, len(h.trees))
		for _, tr := range h.trees {
			all = append(all, Made{Tree: tr.name, Top: "/" + testTop()})
		}
		if err := h.RemoveMade(path(t, "race"), all); err != nil {
			t.Error(err)
		}
	})
}

func TestKill(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		g := create(t, h, path(t, "pod", "killed"), &Resources{PidsLimit: 500})
		start(t, g, "sleep")
		c := start(t, g, "fork")
		pids, err := g.Procs(t.Context())
		if err != nil || len(pids) < 2 {
			t.Errorf("processes %v, %v", pids, err)
		}
		short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := g.WaitEmpty(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("WaitEmpty of a full group: %v", err)
		}
		if err := g.Remove(short); !errors.Is(err, unix.EBUSY) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "still in it") {
			t.Errorf("Remove of a full group: %v", err)
		}
		began := time.Now()
		if err := g.Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := g.WaitEmpty(ctx); err != nil {
			t.Fatal(err)
		}
		t.Logf("killed and empty after %v", time.Since(began))
		c.cmd.Wait()
		if pids, err := g.Procs(ctx); err != nil || len(pids) != 0 {
			t.Errorf("processes %v, %v", pids, err)
		}
		if frozen, err := g.Frozen(); frozen || err != nil {
			t.Errorf("frozen %v, %v", frozen, err)
		}
	})
}

// A wait that has come to where only the kernel's event ends it.
func TestWaitEmptyByEvent(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		g := create(t, h, path(t, "event"), nil)
		start(t, g, "sleep")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- g.WaitEmpty(ctx) }()
		// Longer than it looks by itself; a slow machine makes the test weaker, not fail.
		time.Sleep(3 * lastLook)
		if err := g.Kill(ctx); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// What the freezer's way of killing does with more processes than it holds fds for.
func TestSignalAll(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		g := create(t, h, path(t, "signals"), nil)
		for range 5 {
			start(t, g, "sleep")
		}
		leaf, err := h.signal().root.openDir(g.path.rel)
		if err != nil {
			t.Fatal(err)
		}
		defer leaf.close()
		before := countFDs(t)
		if err := signalAll(t.Context(), leaf, 2); err != nil {
			t.Error(err)
		}
		if after := countFDs(t); after != before {
			t.Errorf("%d fds before, %d after", before, after)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := g.WaitEmpty(ctx); err != nil {
			t.Error(err)
		}
	})
}

// The app nests cgroups of its own, with processes in them and very deep.
func TestNested(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		g := create(t, h, path(t, "nest"), nil)
		tr := h.signal()
		for i := range 200 {
			if err := tr.root.mkdir(fmt.Sprintf("%s/n%d", g.path.rel, i)); err != nil {
				t.Fatal(err)
			}
		}
		deep := g.path.rel
		for range 60 {
			deep += "/" + strings.Repeat("d", 10)
			if err := tr.root.mkdir(deep); err != nil {
				t.Fatal(err)
			}
		}
		c := start(t, g, "sleep")
		if err := tr.root.write(deep+"/cgroup.procs", fmt.Sprint(c.cmd.Process.Pid)); err != nil {
			t.Fatal(err)
		}
		if pids, err := g.Procs(t.Context()); err != nil || len(pids) != 1 || pids[0] != c.cmd.Process.Pid {
			t.Errorf("processes %v, %v; want %d", pids, err, c.cmd.Process.Pid)
		}
		if err := errors.Join(g.Kill(t.Context()), g.WaitEmpty(t.Context()), g.Remove(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

func TestExec(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		g := create(t, h, path(t, "exec"), nil)
		if h.Mode() == V1 {
			if _, err := g.NewExec("x"); !errors.Is(err, ErrUnsupported) {
				t.Errorf("NewExec on v1: %v", err)
			}
			return
		}
		app := start(t, g, "sleep")
		e, err := g.NewExec("exec-1")
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		if _, err := g.NewExec("exec-1"); !errors.Is(err, fs.ErrExist) {
			t.Errorf("second NewExec: %v", err)
		}
		if _, err := g.NewExec("../x"); !errors.Is(err, ErrPath) {
			t.Errorf("NewExec with a path: %v", err)
		}
		startIn(t, g, e.Dir(), "sleep")
		short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := e.Remove(short); !errors.Is(err, unix.EBUSY) {
			t.Errorf("Remove of a full exec group: %v", err)
		}
		if err := errors.Join(e.Kill(), e.WaitEmpty(t.Context()), e.Remove(t.Context()), e.Kill(), e.WaitEmpty(t.Context()), e.Remove(t.Context())); err != nil {
			t.Error(err)
		}
		if pids, err := g.Procs(t.Context()); err != nil || len(pids) != 1 || pids[0] != app.cmd.Process.Pid {
			t.Errorf("the app is not alone: %v, %v", pids, err)
		}
	})
}

func TestFrozen(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		g := create(t, h, path(t, "ice", "cold"), nil)
		tr, file, freeze, melt := h.signal(), "/freezer.state", "FROZEN", "THAWED"
		if tr.v2 {
			file, freeze, melt = "/cgroup.freeze", "1", "0"
		}
		parent := g.path.Parent().rel + file
		if err := tr.root.write(parent, freeze); err != nil {
			t.Fatal(err)
		}
		_, err := g.JoinFiles()
		if !errors.Is(err, ErrFrozen) {
			t.Errorf("JoinFiles of a frozen group: %v", err)
		}
		if err := tr.root.write(parent, melt); err != nil {
			t.Fatal(err)
		}
		files, err := g.JoinFiles()
		if err != nil {
			t.Error(err)
		}
		last := 0
		for _, f := range files {
			if f.Last {
				last++
			}
		}
		if want := map[bool]int{true: 0, false: 1}[h.Mode() == V2]; last != want {
			t.Errorf("%d of %v are marked last", last, files)
		}
		closeJoinFiles(files)
		if h.Mode() != V1 {
			return
		}
		// A podlet died in the middle of Kill.
		c := start(t, g, "sleep")
		if err := tr.root.write(g.path.rel+file, freeze); err != nil {
			t.Fatal(err)
		}
		again, err := h.Load(g.path)
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		if frozen, err := again.Frozen(); frozen || err != nil {
			t.Errorf("after Load: frozen %v, %v", frozen, err)
		}
		if err := again.Kill(t.Context()); err != nil {
			t.Error(err)
		}
		c.cmd.Wait()
	})
}

func TestOOMKills(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		need(t, h, "memory")
		g := create(t, h, path(t, "oom"), &Resources{MemoryLimitBytes: 32 * mib, MemorySwapLimitBytes: 32 * mib})
		c := start(t, g, fmt.Sprintf("alloc %d", 256*mib))
		c.cmd.Wait()
		if n, err := g.OOMKills(); err != nil || n != 1 {
			t.Errorf("OOM kills %d, %v", n, err)
		}
	})
}

func TestOpenNothing(t *testing.T) {
	if h, err := Open(t.TempDir()); err == nil {
		t.Errorf("Open of an empty directory: %v", h.Mode())
	}
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
