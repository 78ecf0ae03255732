package cgroup

import (
	"context"
	"errors"
	"io/fs"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

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
