package pod

import (
	"context"
	"errors"
	"fmt"
)

// StopPod is StopPodSandbox: it ends all that runs in the pod and gives its network back. It is idempotent, and needs no answer of pause's.
func (r *Runtime) StopPod(ctx context.Context, id string) error {
	p, err := r.pod(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := p.stop(ctx); err != nil {
		return fmt.Errorf("stop pod %s: %w", p.name(), err)
	}
	return nil
}

func (p *Pod) stop(ctx context.Context) error {
	p.mu.Lock()
	p.notReadyLocked()
	containers := p.containersLocked()
	p.mu.Unlock()
	if p.spec.HostPID {
		// Without a guard the containers don't end with pause.
		for _, c := range containers {
			if err := c.stop(ctx, 0); err != nil {
				return err
			}
		}
	}
	p.lastWords(ctx)
	p.flushLogs(ctx)
	if err := p.tearDown(ctx); err != nil {
		return err
	}
	p.allEnded("the pod was stopped")
	return nil
}
