package pod

import (
	"context"
	"errors"
	"fmt"
)

// RemovePod is RemovePodSandbox: it stops the pod if need be and removes it with its containers. One that is not there is success.
func (r *Runtime) RemovePod(ctx context.Context, id string) error {
	p, err := r.pod(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := p.remove(ctx); err != nil {
		return fmt.Errorf("remove pod %s: %w", p.name(), err)
	}
	return nil
}

// removeHalf removes a pod that was never ready. If it fails the record stays, so that the janitor, or the next podlet, tries again.
func (p *Pod) removeHalf(ctx context.Context) error {
	if err := p.tearDown(ctx); err != nil {
		return err
	}
	p.rt.mu.Lock()
	delete(p.rt.mu.pods, p.id)
	p.rt.mu.Unlock()
	return p.rt.records.DeletePod(p.id)
}

func (p *Pod) remove(ctx context.Context) error {
	if err := p.stop(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	containers := p.containersLocked()
	p.mu.Unlock()
	for _, c := range containers {
		if err := c.remove(ctx); err != nil {
			return fmt.Errorf("container %s: %w", c.spec.Name, err)
		}
	}
	p.rt.mu.Lock()
	_, seen := p.rt.mu.pods[p.id]
	delete(p.rt.mu.pods, p.id)
	p.rt.mu.Unlock()
	if seen {
		p.mu.Lock()
		p.tellLocked(p.id, EventRemoved)
		p.mu.Unlock()
	}
	p.rt.janitor.finishPod(p)
	return nil
}
