package cgroup

import (
	"errors"
	"fmt"
	"testing"
)

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
