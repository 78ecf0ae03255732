package cgroup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Back-off of removals that find a cgroup busy. A process that has ended holds
// its cgroup for some microseconds more; one that hangs on a disk, for as long
// as it hangs.
const (
	firstPause = time.Millisecond
	lastPause  = 250 * time.Millisecond
)

// Remove removes the group in every tree, with the cgroups that the app made in
// it. It ends nothing: call Kill and WaitEmpty first. What is busy is tried
// again until ctx ends; the error then names a process that is still there.
// A group that is gone already is success. Stats finds no group any more.
func (g *Group) Remove(ctx context.Context) error {
	g.meter.Close()
	return untilRemoved(ctx, "cgroup "+g.path.String(), g.remove, func() ([]int, error) { return g.Procs(context.WithoutCancel(ctx)) })
}

func (g *Group) remove(ctx context.Context) error {
	var busy []string
	var failed []error
	for _, t := range g.h.trees {
		err := t.remove(ctx, g.path)
		switch {
		case errors.Is(err, unix.EBUSY):
			busy = append(busy, t.name)
		case err != nil:
			failed = append(failed, err)
		}
	}
	if len(failed) == 0 && len(busy) > 0 {
		return fmt.Errorf("in the hierarchies %s: %w", strings.Join(busy, " "), unix.EBUSY)
	}
	return errors.Join(failed...)
}

// untilRemoved runs remove until it succeeds, fails with other than EBUSY, or
// ctx ends.
func untilRemoved(ctx context.Context, what string, remove func(context.Context) error, procs func() ([]int, error)) error {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := remove(ctx)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("remove %s: %w", what, err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			if pids, _ := procs(); len(pids) > 0 {
				return fmt.Errorf("remove %s: %d processes are still in it, the first is %d: %w: %w", what, len(pids), pids[0], err, ctx.Err())
			}
			return fmt.Errorf("remove %s: %w: %w", what, err, ctx.Err())
		}
	}
}

// rmdir removes p, which has nothing below it. It needs no fd: what has to be
// undone because fds ran out can be undone.
func (t *tree) rmdir(p Path) error {
	err := t.root.rmdir(p.rel)
	if err != nil && !gone(err) {
		return fmt.Errorf("remove cgroup %s in the %s hierarchy: %w", p, t.name, err)
	}
	return nil
}

// remove removes p and all below it that is not busy. The error is EBUSY if
// something was, or if ctx ended first.
func (t *tree) remove(ctx context.Context, p Path) error {
	err := t.rmdir(p)
	if !errors.Is(err, unix.EBUSY) {
		return err
	}
	leaf, err := t.root.openDir(p.rel)
	if gone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open cgroup %s in the %s hierarchy: %w", p, t.name, err)
	}
	defer leaf.close()
	err = leaf.walk(ctx, nil, func(parent dir, name string) error {
		if err := parent.rmdir(name); err != nil && !gone(err) && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("remove nested cgroup %q: %w", name, err)
		}
		return nil
	})
	if ctx.Err() != nil {
		return unix.EBUSY
	}
	if err != nil && !gone(err) {
		return fmt.Errorf("below cgroup %s in the %s hierarchy: %w", p, t.name, err)
	}
	return t.rmdir(p)
}

// RemoveMade removes the directories that made tells of, p being the parent of
// the groups for which they were made: from p up to the top of each. One that
// is in use, by other groups or by processes, is left with all above it, and
// that is no error.
func (h *Hierarchy) RemoveMade(p Path, made []Made) error {
	var failed []error
	for _, m := range made {
		top, err := ParsePath(m.Top)
		if err != nil {
			failed = append(failed, fmt.Errorf("parents made of cgroup %s: %w", p, err))
			continue
		}
		t := h.tree(m.Tree)
		if t == nil || top.IsRoot() {
			continue // another layout was booted since
		}
		for at := p; at == top || strings.HasPrefix(at.rel, top.rel+"/"); at = at.Parent() {
			err := t.rmdir(at)
			if errors.Is(err, unix.EBUSY) {
				break
			}
			if err != nil {
				failed = append(failed, err)
				break
			}
		}
	}
	return errors.Join(failed...)
}
