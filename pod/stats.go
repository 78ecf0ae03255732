package pod

import (
	"context"
	"errors"
	"fmt"
	"os"

	"podlet/cgroup"
)

// ContainerStats is what a container uses.
type ContainerStats struct {
	*ContainerStatus
	// Stats is nil where the container doesn't run.
	*cgroup.Stats
	// Layer is nil as long as it hasn't been counted.
	Layer *LayerUsage
}

// ContainerStats reads what one container uses.
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

// AllContainerStats reads what the running containers that want lets through use. One that ends meanwhile is left out, and so are those of which a new
// podlet doesn't know yet whether they run.
func (r *Runtime) AllContainerStats(ctx context.Context, want func(*ContainerStatus) bool) []*ContainerStats {
	r.recoveredPods(ctx)
	return r.runningStats(r.allContainers(), want)
}

// runningStats leaves out what can't be read: a node must not go blind for one sick container.
func (r *Runtime) runningStats(containers []*Container, want func(*ContainerStatus) bool) []*ContainerStats {
	list := make([]*ContainerStats, 0, len(containers))
	for _, c := range containers {
		st := c.now()
		if st.State != Running || st.Recovering || !want(st) {
			continue
		}
		s, err := c.stats()
		if err != nil {
			r.log.Warn("can't read what a container uses", "container", c.name(), "id", c.id, "error", err)
			continue
		}
		if s.Stats != nil {
			list = append(list, s)
		}
	}
	return list
}

// stats reads what the container uses. One whose cgroup goes away meanwhile doesn't run any more, whatever its status says for a moment.
func (c *Container) stats() (*ContainerStats, error) {
	s := &ContainerStats{ContainerStatus: c.status.Load(), Layer: c.layerUsage()}
	c.using.RLock()
	defer c.using.RUnlock()
	c.pod.mu.Lock()
	group, state := c.group, c.rec.State
	c.pod.mu.Unlock()
	if group == nil || state != Running {
		return s, nil
	}
	var err error
	s.Stats, err = group.Stats()
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	return s, err
}
