package pod

import (
	"context"
	"time"
)

// listPatience is how long a list waits, right after a restart of podlet, for pods to say how they are.
const listPatience = 300 * time.Millisecond

// Pods lists all pods whose creation is complete. It makes no system call but right after a start.
func (r *Runtime) Pods(ctx context.Context) []*PodStatus {
	var list []*PodStatus
	for _, p := range r.recoveredPods(ctx) {
		if s := p.status.Load(); s.State != PodCreating {
			list = append(list, s)
		}
	}
	return list
}

// Containers lists all containers.
func (r *Runtime) Containers(ctx context.Context) []*ContainerStatus {
	r.recoveredPods(ctx)
	r.mu.RLock()
	defer r.mu.RUnlock()
	list := make([]*ContainerStatus, 0, len(r.mu.containers))
	for _, c := range r.mu.containers {
		if s := c.now(); s.State != removed {
			list = append(list, s)
		}
	}
	return list
}

// now is the container's status; what an earlier podlet wrote is marked as such until pause has spoken.
func (c *Container) now() *ContainerStatus {
	s := c.status.Load()
	select {
	case <-c.pod.recovered:
		return s
	default:
	}
	old := *s
	old.Recovering = true
	return &old
}

func (r *Runtime) recoveredPods(ctx context.Context) []*Pod {
	pods := r.allPods()
	timer := time.NewTimer(listPatience)
	defer timer.Stop()
	for _, p := range pods {
		select {
		case <-p.recovered:
			continue
		default:
		}
		select {
		case <-p.recovered:
		case <-timer.C:
			return pods
		case <-ctx.Done():
			return pods
		}
	}
	return pods
}
