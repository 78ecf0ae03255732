package cgroup

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// makeAttempts bounds how often make starts again because the parent was
// removed under it (RemoveMade of another container).
const makeAttempts = 20

// make makes the leaf p, and its parents where they are missing. top is the
// topmost parent it made, the root if it made none; it is valid on error too,
// when the leaf doesn't exist or wasn't made by this call.
func (t *tree) make(p Path) (top Path, err error) {
	for range makeAttempts {
		err = t.makeOne(p)
		if !gone(err) || p.depth() == 1 {
			break
		}
		var first Path
		if first, err = t.makeParents(p.Parent()); top.IsRoot() || !first.IsRoot() && first.depth() < top.depth() {
			top = first
		}
		if err != nil && !gone(err) {
			return top, err
		}
	}
	return top, err
}

// makeOne makes p, whose parent is there, ready to hold processes.
func (t *tree) makeOne(p Path) error {
	if err := t.root.mkdir(p.rel); err != nil {
		return fmt.Errorf("make directory %s: %w", p.base(), err)
	}
	if t.v2 || !slices.Contains(t.controllers, "cpuset") {
		return nil
	}
	if err := t.inheritCpuset(p); err != nil {
		return errors.Join(err, t.rmdir(p))
	}
	return nil
}

// prefix is what comes before a file's name in the cgroup p.
func (t *tree) prefix(p Path) string {
	if p.IsRoot() {
		return ""
	}
	return p.rel + "/"
}

// makeParents makes the directories of p that are missing and returns the
// topmost of those.
func (t *tree) makeParents(p Path) (top Path, err error) {
	for n := 1; n <= p.depth(); n++ {
		at := p.ancestor(n)
		err := t.makeOne(at)
		if errors.Is(err, unix.EEXIST) {
			continue
		}
		if err != nil {
			return top, fmt.Errorf("make parent cgroup %s: %w", at, err)
		}
		if top.IsRoot() {
			top = at
		}
	}
	return top, nil
}

// prepare enables, in a v2 tree, what the leaf p needs. top is the topmost
// parent just made, if any.
func (t *tree) prepare(p, top Path, settings []setting) error {
	if !t.v2 {
		return nil
	}
	var needed []string
	for _, s := range settings {
		if slices.Contains(t.controllers, s.controller) && !slices.Contains(needed, s.controller) {
			needed = append(needed, s.controller)
		}
	}
	return t.enable(p, top, needed)
}
