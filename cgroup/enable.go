package cgroup

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// enable makes the needed controllers available to the cgroup p of a v2 tree,
// by writing cgroup.subtree_control of its ancestors from the root down.
//
//   - In a directory that podlet made (top and below) and in p's own parent,
//     which is the one the caller gave us for containers, every managed
//     controller that has come down to it is enabled: usage is then counted and
//     OOM kills are told for unlimited containers too.
//   - In the root and in other owners' directories only what is needed and
//     missing.
//
// What is enabled stays so: others may have come to use it.
func (t *tree) enable(p, top Path, needed []string) error {
	// The common case, a kubelet's pod cgroup with a container already in it.
	if top.IsRoot() {
		missing, err := t.missing(p.Parent(), !p.Parent().IsRoot(), needed)
		if err != nil {
			return err
		}
		if len(missing) == 0 {
			return nil
		}
	}
	for n := 0; n < p.depth(); n++ {
		at := p.ancestor(n)
		ours := n > 0 && (n == p.depth()-1 || !top.IsRoot() && n >= top.depth())
		missing, err := t.missing(at, ours, needed)
		if err != nil {
			return err
		}
		if err := t.enableIn(at, missing, needed); err != nil {
			return err
		}
	}
	return nil
}

// missing lists what at should pass down and doesn't.
func (t *tree) missing(at Path, ours bool, needed []string) ([]string, error) {
	prefix := t.prefix(at)
	want := needed
	if ours {
		available, err := t.root.read(prefix + "cgroup.controllers")
		if err != nil {
			return nil, fmt.Errorf("read cgroup.controllers of cgroup %s: %w", at, err)
		}
		want = slices.Clone(needed)
		for _, c := range strings.Fields(available) {
			if slices.Contains(v2Managed, c) && !slices.Contains(want, c) {
				want = append(want, c)
			}
		}
	}
	enabled, err := t.root.read(prefix + "cgroup.subtree_control")
	if err != nil {
		return nil, fmt.Errorf("read cgroup.subtree_control of cgroup %s: %w", at, err)
	}
	on := strings.Fields(enabled)
	return slices.DeleteFunc(slices.Clone(want), func(c string) bool { return slices.Contains(on, c) }), nil
}

// enableIn enables missing in at: all, or where that fails the needed ones.
func (t *tree) enableIn(at Path, missing, needed []string) error {
	if len(missing) == 0 {
		return nil
	}
	// The kernel refuses memory and io below a cgroup with processes. cpu, cpuset and
	// pids it would take, and make of the cgroup the root of a threaded subtree, in
	// whose children no process can be started.
	if holds, err := t.holdsProcesses(at); err != nil || holds {
		for _, c := range missing {
			if err == nil && slices.Contains(needed, c) {
				err = fmt.Errorf("enable controller %s below cgroup %s: it holds processes itself, and cgroup v2 lets a cgroup have either processes or limited children: move them into a child: %w", c, at, unix.EBUSY)
			}
		}
		return err
	}
	file := t.prefix(at) + "cgroup.subtree_control"
	if t.root.write(file, "+"+strings.Join(missing, " +")) == nil {
		return nil
	}
	for _, c := range missing {
		if !slices.Contains(needed, c) {
			continue
		}
		err := t.root.write(file, "+"+c)
		switch {
		case err == nil:
		case errors.Is(err, unix.ENOENT):
			return fmt.Errorf("enable controller %s below cgroup %s: %w: it has not that controller itself: %w", c, at, ErrUnsupported, err)
		default:
			return fmt.Errorf("enable controller %s below cgroup %s: %w", c, at, err)
		}
	}
	return nil
}

// holdsProcesses says whether at is a cgroup, other than the root, with processes
// of its own.
func (t *tree) holdsProcesses(at Path) (bool, error) {
	if at.IsRoot() {
		return false, nil
	}
	procs, err := t.root.read(at.rel + "/cgroup.procs")
	if errors.Is(err, unix.EOPNOTSUPP) {
		return false, nil // threaded: see checkDomain
	}
	if err != nil {
		return false, fmt.Errorf("read cgroup.procs of cgroup %s: %w", at, err)
	}
	return procs != "", nil
}

// checkDomain refuses a leaf in which no process can be started, because its
// parent is threaded or the root of a threaded subtree.
func (t *tree) checkDomain(p Path) error {
	kind, err := t.root.read(p.rel + "/cgroup.type")
	if err != nil {
		return fmt.Errorf("read cgroup.type of cgroup %s: %w", p, err)
	}
	if kind != "domain" {
		return fmt.Errorf("its type is %q, since cgroup %s is in a threaded subtree (cgroup.type), where no process can be started: use another parent: %w", kind, p.Parent(), unix.EOPNOTSUPP)
	}
	return nil
}
