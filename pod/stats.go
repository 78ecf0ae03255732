package pod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"podlet/cgroup"
	"podlet/internal/network"
)

// ContainerStats is what a running container uses.
type ContainerStats struct {
	*ContainerStatus
	*cgroup.Stats
	Time time.Time
}

// PodStats is what a pod uses: its cgroup parent, its network and its running containers.
type PodStats struct {
	*PodStatus
	*cgroup.Stats
	Time       time.Time
	Links      []network.Link
	Containers []*ContainerStats
}

// ContainerStats reads what one container uses. One that doesn't run is ErrState.
func (r *Runtime) ContainerStats(ctx context.Context, id string) (*ContainerStats, error) {
	c, err := r.container(ctx, id)
	if err != nil {
		return nil, err
	}
	s, err := c.stats()
	if err != nil {
		return nil, fmt.Errorf("stats of container %s: %w", c.name(), err)
	}
	return s, nil
}

// AllContainerStats reads what the running containers that want lets through use. One that ends meanwhile is left out.
func (r *Runtime) AllContainerStats(ctx context.Context, want func(*ContainerStatus) bool) ([]*ContainerStats, error) {
	var list []*ContainerStats
	for _, st := range r.Containers(ctx) {
		if st.State != Running || !want(st) {
			continue
		}
		s, err := r.ContainerStats(ctx, st.ID)
		if gone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

func gone(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, ErrNotFound) || errors.Is(err, ErrState)
}

func (c *Container) stats() (*ContainerStats, error) {
	st := c.status.Load()
	c.using.RLock()
	defer c.using.RUnlock()
	c.pod.mu.Lock()
	group, state := c.group, c.rec.State
	c.pod.mu.Unlock()
	if group == nil || state != Running {
		return nil, fmt.Errorf("it is %s, not running: %w", state, ErrState)
	}
	now := time.Now()
	stats, err := group.Stats()
	if err != nil {
		return nil, err
	}
	return &ContainerStats{ContainerStatus: st, Stats: stats, Time: now}, nil
}

// PodStats reads what one pod uses. Its own numbers are those of its cgroup parent, which a kubelet makes for this pod alone.
func (r *Runtime) PodStats(ctx context.Context, id string) (*PodStats, error) {
	p, err := r.pod(ctx, id)
	if err != nil {
		return nil, err
	}
	st := p.status.Load()
	path, err := cgroup.ParsePath(p.spec.CgroupParent)
	if err != nil {
		return nil, err
	}
	out := &PodStats{PodStatus: st, Time: time.Now()}
	if out.Stats, err = r.cgroups.Stats(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("stats of pod %s: %w", p.name(), err)
	}
	if out.Links, err = r.links(st); err != nil {
		return nil, fmt.Errorf("network of pod %s: %w", p.name(), err)
	}
	out.Containers, err = r.AllContainerStats(ctx, func(c *ContainerStatus) bool { return c.PodID == id })
	return out, err
}

func (r *Runtime) links(st *PodStatus) ([]network.Link, error) {
	if !st.Spec.OwnNetwork() || st.State != PodReady {
		return nil, nil
	}
	ns, err := r.netns.Open(st.ID)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	return network.Links(ns)
}
