package cgroup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

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
