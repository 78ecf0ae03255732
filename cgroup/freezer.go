package cgroup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrFrozen is wrapped by the error about a start in a frozen cgroup.
var ErrFrozen = errors.New("the cgroup, or one above it, is frozen, so nothing started in it would run: thaw it first")

// freezeFor is how long killFrozen waits for the freezer. A process in D state
// never freezes; the others get their signal all the same.
const freezeFor = 50 * time.Millisecond

// killFrozen kills without cgroup.kill. A SIGKILL acts on a frozen process only
// when it thaws, so both ends matter: frozen, nothing forks between list and
// signal; thawed, everything dies.
func (g *Group) killFrozen(ctx context.Context) (err error) {
	t := g.h.by["freezer"]
	if t == nil {
		return fmt.Errorf("%w: there is neither a v2 tree nor the v1 freezer controller", ErrUnsupported)
	}
	leaf, err := t.root.openDir(g.path.rel)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer leaf.close()
	defer func() {
		if thawErr := leaf.write("freezer.state", "THAWED"); thawErr != nil && !gone(thawErr) {
			err = errors.Join(err, fmt.Errorf("thaw: %w", thawErr))
		}
	}()
	if err := freeze(ctx, leaf); err != nil {
		return err
	}
	return signalAll(context.WithoutCancel(ctx), leaf, pidfdsAtOnce)
}

// freeze asks for the freeze and waits a little for it. The v1 freezer has no
// event, and a FREEZING group gets on only by being asked again.
func freeze(ctx context.Context, leaf dir) error {
	deadline := time.Now().Add(freezeFor)
	for pause := 100 * time.Microsecond; ; pause = min(2*pause, 5*time.Millisecond) {
		if err := leaf.write("freezer.state", "FROZEN"); err != nil {
			return fmt.Errorf("freeze: %w", err)
		}
		state, err := leaf.read("freezer.state")
		if err != nil {
			return fmt.Errorf("read freezer.state: %w", err)
		}
		if state == "FROZEN" || time.Now().After(deadline) || ctx.Err() != nil {
			return nil
		}
		time.Sleep(pause)
	}
}

// thaw undoes the freeze of a podlet that died inside killFrozen.
func (g *Group) thaw() error {
	t := g.h.by["freezer"]
	if t == nil {
		return nil
	}
	return t.root.write(g.path.rel+"/freezer.state", "THAWED")
}

// Frozen says whether the group is frozen, by itself or by a cgroup above it:
// what is started in it would not run. podlet never leaves one so; a parent's
// owner may.
func (g *Group) Frozen() (bool, error) {
	if g.h.v2 != nil {
		events, err := g.h.v2.root.read(g.path.rel + "/cgroup.events")
		if err != nil {
			return false, fmt.Errorf("read cgroup.events of cgroup %s: %w", g.path, err)
		}
		return strings.Contains(events, "frozen 1"), nil
	}
	t := g.h.by["freezer"]
	if t == nil {
		return false, nil
	}
	state, err := t.root.read(g.path.rel + "/freezer.state")
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return false, fmt.Errorf("read freezer.state of cgroup %s: %w", g.path, err)
	}
	return err == nil && state != "THAWED", nil
}
