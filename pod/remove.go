package pod

import (
	"context"
	"errors"
	"fmt"

	"podlet/pod/record"
)

// RemoveContainer removes a container; one that runs is killed first. One that is not there is success.
func (r *Runtime) RemoveContainer(ctx context.Context, id string) error {
	c, err := r.container(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := c.remove(ctx); err != nil {
		return fmt.Errorf("remove container %s: %w", c.name(), err)
	}
	return nil
}

func (c *Container) remove(ctx context.Context) error {
	if err := c.stop(ctx, 0); err != nil {
		return err
	}
	c.pod.mu.Lock()
	if c.rec.State == removed {
		c.pod.mu.Unlock()
		return nil
	}
	if err := c.saveLocked(func(rec *containerRecord) { rec.State = removed }); err != nil {
		// Removal must work on a full disk: then the record goes at once, and the cgroup's name is known to this process alone.
		c.pod.rt.log.Warn("a container's record can't be written while it is removed", "container", c.name(), "error", err)
		c.rec.State = removed
	}
	c.pod.mu.Unlock()
	c.pod.rt.mu.Lock()
	delete(c.pod.rt.mu.containers, c.id)
	c.pod.rt.mu.Unlock()
	c.pod.rt.images.Release(c.id)
	c.pod.rt.janitor.finish(ctx, c)
	return nil
}

// forget drops the last trace of a removed container, once nothing of it is left in the kernel.
func (c *Container) forget() error {
	if err := c.pod.rt.trash(c.id); err != nil {
		return err
	}
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	delete(c.pod.mu.containers, c.id)
	return c.pod.rt.records.Delete(c.pod.id, record.Container(c.id))
}
