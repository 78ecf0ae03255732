package cgroup

import (
	"fmt"
	"os"
)

// V1Dir opens the group's directory in a v1 tree, O_PATH, for mounting it into the container. name is one of
// Hierarchy.V1Mounts. The caller closes it.
func (g *Group) V1Dir(name string) (*os.File, error) {
	t := g.h.tree(name)
	if t == nil || t.v2 {
		return nil, fmt.Errorf("open cgroup %s in the %s hierarchy: %w: there is no such v1 tree", g.path, name, ErrUnsupported)
	}
	d, err := t.root.openDir(g.path.rel)
	if err != nil {
		return nil, fmt.Errorf("open cgroup %s in the %s hierarchy: %w", g.path, name, err)
	}
	return os.NewFile(uintptr(d), name+g.path.String()), nil
}
