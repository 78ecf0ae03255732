package cgroup

import (
	"errors"
	"testing"
)

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
