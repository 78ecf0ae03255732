package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"podlet/cgroup"
)

// parent is the cgroup that podlet's and the floor's containers are made in, as a
// kubelet would have made one: there before the first measurement, so that neither
// side pays for it.
type parent struct {
	Path string

	hierarchy *cgroup.Hierarchy
	keeper    *cgroup.Group // an empty child, which keeps podlet from taking the parent for its own
}

// parents numbers them.
var parents int

func makeParent(ctx context.Context) (*parent, error) {
	h, err := cgroup.Open("/sys/fs/cgroup")
	if err != nil {
		return nil, err
	}
	parents++
	p := &parent{Path: fmt.Sprintf("/podlet-bench-%d-%d", os.Getpid(), parents), hierarchy: h}
	path, err := cgroup.ParsePath(p.Path + "/keeper")
	if err == nil {
		p.keeper, err = h.Create(ctx, path, nil)
	}
	if err != nil {
		h.Close()
		return nil, err
	}
	return p, nil
}

// close removes the cgroup.
func (p *parent) close() error {
	at := p.keeper.Path().Parent()
	err := p.keeper.Remove(context.Background())
	p.keeper.Close()
	err = errors.Join(err, p.hierarchy.RemoveMade(at, p.keeper.Made()))
	p.hierarchy.Close()
	return err
}
