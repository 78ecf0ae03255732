package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// maxSteps ends a run of faults that never comes to success.
const maxSteps = 300

func countFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// Create fails at each of its steps in turn, once or from there on: it says so, and
// leaves nothing.
func TestCreateFault(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		for _, on := range []bool{false, true} {
			createFault(t, h, on)
		}
	})
}

func createFault(t *testing.T, h *Hierarchy, on bool) {
	r := everything(t, h)
	if h.noProgram == nil {
		r.Devices = []DeviceRule{allowNull}
	}
	p := path(t, "fault", "pod", "c")
	for k := range maxSteps {
		before := countFDs(t)
		var g *Group
		hit, err := withFault(t, fault{first: k, on: on}, func() (err error) {
			g, err = h.Create(context.Background(), p, r)
			return err
		})
		if hit && !on && err == nil && h.v2 != nil {
			// Enabling several controllers at once failed; one by one it worked.
			l, limitsErr := g.Limits()
			if limitsErr != nil || l.PidsLimit != r.PidsLimit || l.MemoryLimitBytes != r.MemoryLimitBytes {
				t.Errorf("step %d failed unreported: limits %+v, %v", k, l, limitsErr)
			}
		} else if hit == (err == nil) {
			t.Errorf("step %d: hit %v, error %v", k, hit, err)
		}
		if err == nil {
			err = errors.Join(g.Remove(t.Context()), h.RemoveMade(p.Parent(), g.Made()))
			g.Close()
			if err != nil {
				t.Fatal(err)
			}
		} else if !errors.Is(err, unix.EMFILE) && !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.ENOMEM) {
			t.Errorf("step %d: the cause is lost: %v", k, err)
		}
		if left := leftovers(); len(left) > 0 {
			t.Fatalf("step %d: %v left %v", k, err, left)
		}
		// Loaded programs stay in the cache of h.
		if after := countFDs(t); after > before+1 {
			t.Errorf("step %d: %d fds before, %d after", k, before, after)
		}
		if !hit {
			t.Logf("%d steps", k)
			return
		}
	}
	t.Errorf("no success after %d steps", maxSteps)
}

// Update fails at each of its steps in turn: the limits are as before.
func TestUpdateFault(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		r := everything(t, h)
		if h.noProgram == nil {
			r.Devices = []DeviceRule{allowNull}
		}
		g := create(t, h, path(t, "updatefault"), r)
		now, err := g.Limits()
		if err != nil {
			t.Fatal(err)
		}
		next := *r
		next.CPUPeriod, next.CPUQuota, next.CPUShares, next.PidsLimit = 100000, 90000, 500, 50
		next.MemoryLimitBytes, next.MemorySwapLimitBytes = 128*mib, 128*mib
		if h.noProgram == nil {
			next.Devices = []DeviceRule{allowZero}
		}
		for k := range maxSteps {
			var programs []uint32
			if h.noProgram == nil {
				programs = programIDs(t, h, g)
			}
			hit, err := withFault(t, fault{first: k}, func() error { return g.Update(context.Background(), &next) })
			if hit == (err == nil) {
				t.Fatalf("step %d: hit %v, error %v", k, hit, err)
			}
			if !hit {
				t.Logf("%d steps", k)
				return
			}
			if l, err := g.Limits(); err != nil || !reflect.DeepEqual(l, now) {
				t.Fatalf("step %d:\nlimits %+v, %v\nbefore %+v", k, l, err, now)
			}
			if h.noProgram == nil && fmt.Sprint(programIDs(t, h, g)) != fmt.Sprint(programs) {
				t.Errorf("step %d: the device program changed", k)
			}
		}
		t.Errorf("no success after %d steps", maxSteps)
	})
}

// With no fd to be had at all, a Create that came half way still goes back.
func TestCreateWithoutFDs(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		var old unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
			t.Fatal(err)
		}
		r, p := everything(t, h), path(t, "nofds", "c")
		set := func(n uint64) {
			if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: old.Max}); err != nil {
				t.Fatal(err)
			}
		}
		defer set(old.Cur)
		set(0)
		g, err := h.Create(t.Context(), p, r)
		set(old.Cur)
		if !errors.Is(err, unix.EMFILE) {
			t.Errorf("Create without fds: %v, %v", g, err)
		}
		if left := leftovers(); len(left) > 0 {
			t.Errorf("left %v", left)
		}
	})
}

// A tree in which nothing can be made: what was made in the others goes.
func TestCreateReadOnlyTree(t *testing.T) {
	mounts, err := cgroupMounts(top)
	if err != nil {
		t.Fatal(err)
	}
	for _, sealed := range mounts {
		at := t.TempDir()
		for _, m := range mounts {
			to := filepath.Join(at, filepath.Base(m.point))
			if err := os.Mkdir(to, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := unix.Mount(m.point, to, "", unix.MS_BIND, ""); err != nil {
				t.Fatal(err)
			}
			defer unix.Unmount(to, unix.MNT_DETACH)
			if m.point != sealed.point {
				continue
			}
			if err := unix.Mount("", to, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
				t.Fatal(err)
			}
		}
		h := open(t, at)
		used := sealed.v2
		for _, c := range sealed.controllers {
			used = used || h.by[c] != nil
		}
		g, err := h.Create(t.Context(), path(t, "sealed", "c"), nil)
		if !used {
			if err != nil {
				t.Errorf("%s is not used, yet: %v", sealed.point, err)
				continue
			}
			if err := errors.Join(g.Remove(t.Context()), h.RemoveMade(g.Path().Parent(), g.Made())); err != nil {
				t.Error(err)
			}
			g.Close()
			continue
		}
		if !errors.Is(err, unix.EROFS) {
			t.Errorf("Create with %s read-only: %v", sealed.point, err)
		}
		if left := leftovers(); len(left) > 0 {
			t.Fatalf("with %s read-only left %v", sealed.point, left)
		}
	}
}

// Remove goes on until the last process is gone.
func TestRemoveWaits(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		g := create(t, h, path(t, "patient"), nil)
		c := start(t, g, "sleep")
		done := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			done <- g.Remove(ctx)
		}()
		// Not before the process ends: it holds its cgroup whatever is tried.
		if _, err := h.Load(g.Path()); err != nil {
			t.Errorf("removed with a process in it: %v", err)
		}
		if err := g.Kill(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		c.cmd.Wait()
	})
}

// What an app nested, in every tree, goes with its group.
func TestRemoveThousandNested(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		g := create(t, h, path(t, "thousand"), nil)
		for _, tr := range h.trees {
			n := 100
			if tr == h.signal() {
				n = 1000
			}
			for i := range n {
				name := fmt.Sprintf("%s/a%d", g.path.rel, i/10)
				if i%10 != 0 {
					name += fmt.Sprintf("/b%d", i%10)
				}
				if err := tr.root.mkdir(name); err != nil {
					t.Fatal(err)
				}
			}
		}
		began := time.Now()
		if err := g.Remove(t.Context()); err != nil {
			t.Error(err)
		}
		t.Logf("removed in %v", time.Since(began))
	})
}
