package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// ExecGroup is a child cgroup of a container's for one exec session, in the v2
// tree alone and without controllers, so that all that the session started can
// be ended together. The limits are those of the container.
type ExecGroup struct {
	t    *tree
	path Path
	dir  *os.File
}

// NewExec makes the child cgroup name. On V1 the error wraps ErrUnsupported.
// clone3(2) into it can still fail: EBUSY or EOPNOTSUPP when the app has given
// controllers to children of its own or made them threaded. The caller then
// joins the cgroup of the container's first process.
func (g *Group) NewExec(name string) (*ExecGroup, error) {
	if g.v2 == nil {
		return nil, fmt.Errorf("make an exec cgroup in cgroup %s: %w: it has no directory in a v2 tree", g.path, ErrUnsupported)
	}
	p, err := g.path.Child(name)
	if err != nil {
		return nil, fmt.Errorf("make an exec cgroup in cgroup %s: %w", g.path, err)
	}
	parent := dir(g.v2.Fd())
	if err := parent.mkdir(name); err != nil {
		return nil, &os.PathError{Op: "make exec cgroup", Path: p.String(), Err: err}
	}
	fd, err := parent.openDir(name)
	if err != nil {
		return nil, errors.Join(&os.PathError{Op: "open exec cgroup", Path: p.String(), Err: err}, parent.rmdir(name))
	}
	return &ExecGroup{t: g.h.v2, path: p, dir: os.NewFile(uintptr(fd), p.String())}, nil
}

// Path is where the exec's cgroup is in the v2 tree.
func (e *ExecGroup) Path() Path { return e.path }

// Dir is the cgroup's directory, O_PATH, for CLONE_INTO_CGROUP. e owns it.
func (e *ExecGroup) Dir() *os.File { return e.dir }

// Kill is Group.Kill for the session.
func (e *ExecGroup) Kill() error {
	if err := killV2(e.t, e.path); err != nil {
		return fmt.Errorf("kill exec cgroup %s: %w", e.path, err)
	}
	return nil
}

// WaitEmpty is Group.WaitEmpty for the session.
func (e *ExecGroup) WaitEmpty(ctx context.Context) error {
	if err := waitUnpopulated(ctx, e.t, e.path); err != nil {
		return fmt.Errorf("wait for the end of exec cgroup %s: %w", e.path, err)
	}
	return nil
}

// Remove is Group.Remove for the session. What is left when ctx ends goes with
// the container's own cgroup.
func (e *ExecGroup) Remove(ctx context.Context) error {
	remove := func(ctx context.Context) error { return e.t.remove(ctx, e.path) }
	return untilRemoved(ctx, "exec cgroup "+e.path.String(), remove, func() ([]int, error) {
		return procsBelow(context.WithoutCancel(ctx), dir(e.dir.Fd()))
	})
}

// Close closes the directory's fd.
func (e *ExecGroup) Close() { e.dir.Close() }
