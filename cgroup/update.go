package cgroup

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Update changes the limits that r names and leaves the others. All or nothing:
// on an error every file that was written holds again what it held. A memory
// limit below what is in use is ErrBelowUse, which names both numbers, after an
// attempt to reclaim, and kills nothing. The device program changes only if
// r.Devices says other than what is enforced.
func (g *Group) Update(ctx context.Context, r *Resources) error {
	if r == nil {
		return nil
	}
	g.update.Lock()
	defer g.update.Unlock()
	if err := g.updateLocked(ctx, r); err != nil {
		return fmt.Errorf("update cgroup %s: %w", g.path, err)
	}
	return nil
}

func (g *Group) updateLocked(ctx context.Context, r *Resources) error {
	now, err := g.Limits()
	if err != nil {
		return err
	}
	for key := range r.Unified {
		// The files of the io controller have a line for each device. What a write
		// adds to them could not be put back.
		if strings.HasPrefix(key, "io.") {
			return fmt.Errorf("unified setting %q: %w: io files can be set when the cgroup is made only", key, ErrInvalid)
		}
	}
	settings, err := g.h.plan(r, now)
	if err != nil {
		return err
	}
	if g.h.v2 != nil {
		if err := g.h.v2.prepare(g.path, Path{}, settings); err != nil {
			return err
		}
	}
	if err := g.makeRoom(r.MemoryLimitBytes); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	undo, err := g.h.apply(g.path, settings)
	if err != nil {
		return errors.Join(err, g.h.putBack(g.path, undo))
	}
	if r.Devices == nil {
		return nil
	}
	if err := g.setDevices(r.Devices); err != nil {
		return errors.Join(err, g.h.putBack(g.path, undo))
	}
	return nil
}

// makeRoom refuses a v2 memory limit below what is in use and not reclaimable:
// the kernel would take it and kill. v1 refuses by itself (EBUSY). What the app
// takes between the look and the write can still be too much; that is the same
// as if it had taken it after.
func (g *Group) makeRoom(limit int64) error {
	if limit <= 0 || !g.h.onV2("memory") {
		return nil
	}
	r := reader{g: g}
	usage := r.number("memory", "memory.current")
	if r.err == nil && usage > limit {
		// EAGAIN says that not all of it could be; ENOENT, before Linux 5.19, is no matter.
		err := g.h.v2.root.write(g.path.rel+"/memory.reclaim", fmt.Sprint(usage-limit))
		if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("reclaim %d bytes: %w", usage-limit, err)
		}
		usage = r.number("memory", "memory.current")
	}
	if r.err != nil {
		return r.err
	}
	if usage > limit {
		return fmt.Errorf("set memory.max = \"%d\": %w", limit, belowUse(fmt.Sprint(limit), fmt.Sprint(usage), unix.EBUSY))
	}
	return nil
}
