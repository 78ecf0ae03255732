package pod

import (
	"context"
	"slices"
	"sync"

	"podlet/cgroup"
)

// parents are the cgroup parents of containers. A kubelet makes its own and keeps them; what podlet had to make it removes when the
// last container in it has gone.
type parents struct {
	mu     sync.Mutex
	byPath map[string]*parent
}

// parent is one of them. Lock order: parent.busy, then parents.mu.
type parent struct {
	// busy is held by creations in it, shared, and by its removal, alone: a parent must not vanish under a creation.
	busy  sync.RWMutex
	users int           // guarded by parents.mu: containers whose record names a cgroup in it
	made  []cgroup.Made // guarded by parents.mu
}

// use counts a container in, made being what its record says of the parent; Runtime.leaveParent counts it out.
func (ps *parents) use(path cgroup.Path, made []cgroup.Made) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.byPath == nil {
		ps.byPath = map[string]*parent{}
	}
	p := ps.byPath[path.String()]
	if p == nil {
		p = &parent{}
		ps.byPath[path.String()] = p
	}
	p.users++
	p.noteLocked(made)
}

func (p *parent) noteLocked(made []cgroup.Made) {
	for _, m := range made {
		if !slices.Contains(p.made, m) {
			p.made = append(p.made, m)
		}
	}
}

// known is all that was ever made for the parent.
func (ps *parents) known(path cgroup.Path) []cgroup.Made {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := ps.byPath[path.String()]; p != nil {
		return slices.Clone(p.made)
	}
	return nil
}

// createGroup makes a container's cgroup, and gives all that was ever made for the parent, for the container's record: whichever is
// the last one there must know. The container has been counted in.
func (r *Runtime) createGroup(ctx context.Context, path cgroup.Path, limits *cgroup.Resources) (*cgroup.Group, []cgroup.Made, error) {
	r.parents.mu.Lock()
	p := r.parents.byPath[path.Parent().String()]
	r.parents.mu.Unlock()
	p.busy.RLock()
	group, err := r.cgroups.Create(ctx, path, limits)
	p.busy.RUnlock()
	if err != nil {
		return nil, nil, err
	}
	r.parents.mu.Lock()
	defer r.parents.mu.Unlock()
	p.noteLocked(group.Made())
	return group, slices.Clone(p.made), nil
}

// leaveParent counts a container out, and removes what was made for the parent with the last one.
func (r *Runtime) leaveParent(path cgroup.Path) error {
	r.parents.mu.Lock()
	p := r.parents.byPath[path.String()]
	if p == nil {
		r.parents.mu.Unlock()
		return nil
	}
	p.users--
	r.parents.mu.Unlock()

	p.busy.Lock()
	defer p.busy.Unlock()
	r.parents.mu.Lock()
	if p.users > 0 || r.parents.byPath[path.String()] != p {
		r.parents.mu.Unlock()
		return nil
	}
	made := p.made
	if len(made) == 0 {
		delete(r.parents.byPath, path.String())
		r.parents.mu.Unlock()
		return nil
	}
	r.parents.mu.Unlock()
	// It stays known meanwhile: whoever comes now waits for busy, and notes what he makes anew.
	err := r.cgroups.RemoveMade(path, made)
	r.parents.mu.Lock()
	defer r.parents.mu.Unlock()
	if p.users == 0 && err == nil {
		delete(r.parents.byPath, path.String())
	}
	return err
}
