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
	var err error
	if p.mu.rec.State != PodNotReady {
		err = p.saveLocked(func(rec *podRecord) { rec.State = PodNotReady })
	}
	if err != nil {
		// What can't be recorded is stopped all the same; a full disk must not keep a pod alive.
		p.rt.log.Warn("a pod's record can't be written while it is stopped", "pod", p.name(), "error", err)
		p.mu.rec.State = PodNotReady
		p.publishLocked()
	}
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
	if err := p.tearDown(ctx); err != nil {
		return err
	}
	p.allEnded("the pod was stopped")
	return nil
}
