package pod

import (
	"context"
	"fmt"
	"os"
)

// ProcessInfo is a process of a pod as the node sees it.
type ProcessInfo struct {
	// PID is 0 where no process lives.
	PID int `json:"pid,omitempty"`
	// Namespaces gives the inode of each namespace by its type as in /proc/PID/ns.
	Namespaces map[string]uint64 `json:"namespaces,omitempty"`
}

// PodStatus gives a pod's status.
func (r *Runtime) PodStatus(ctx context.Context, id string) (*PodStatus, error) {
	p, err := r.pod(ctx, id)
	if err != nil {
		return nil, err
	}
	s := p.status.Load()
	if s.State == PodCreating {
		return nil, fmt.Errorf("pod %q: %w", id, ErrNotFound)
	}
	return s, nil
}

// ContainerStatus gives a container's status.
func (r *Runtime) ContainerStatus(ctx context.Context, id string) (*ContainerStatus, error) {
	c, err := r.container(ctx, id)
	if err != nil {
		return nil, err
	}
	return c.now(), nil
}

// PodProcess tells of the pod's pause.
func (r *Runtime) PodProcess(ctx context.Context, id string) (*ProcessInfo, error) {
	p, err := r.pod(ctx, id)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.pidfd == nil {
		return &ProcessInfo{}, nil
	}
	pid, inodes, err := namespaces(p.mu.pidfd)
	if processGone(err) {
		return &ProcessInfo{}, nil
	}
	return &ProcessInfo{PID: pid, Namespaces: inodes}, err
}

// ContainerProcess tells of a container's first process.
func (r *Runtime) ContainerProcess(ctx context.Context, id string) (*ProcessInfo, error) {
	c, err := r.container(ctx, id)
	if err != nil {
		return nil, err
	}
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	if c.pidfd == nil {
		return &ProcessInfo{}, nil
	}
	pid, inodes, err := namespaces(c.pidfd)
	if processGone(err) {
		return &ProcessInfo{}, nil
	}
	return &ProcessInfo{PID: pid, Namespaces: inodes}, err
}

// NetNSPath is where the pod's network namespace is pinned, "" for the node's and for one that is gone.
func (r *Runtime) NetNSPath(s *PodStatus) string {
	path := r.netns.Path(s.ID)
	if _, err := os.Lstat(path); err != nil || !s.Spec.OwnNetwork() {
		return ""
	}
	return path
}
