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
	for !c.hide() {
		if err := c.stop(ctx, 0); err != nil {
			return err
		}
	}
	c.pod.rt.mu.Lock()
	delete(c.pod.rt.mu.containers, c.id)
	c.pod.rt.mu.Unlock()
	c.releaseImages()
	c.pod.rt.janitor.finish(ctx, c)
	return nil
}

// hide makes the container one that nobody sees any more, unless it runs or is about to.
func (c *Container) hide() bool {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	switch c.rec.State {
	case removed:
		return true
	case Starting, Running:
		return false
	}
	if err := c.saveLocked(func(rec *containerRecord) { rec.State = removed }); err != nil {
		// Removal must work on a full disk: then the record goes at once, and the cgroup's name is known to this process alone.
		c.pod.rt.log.Warn("a container's record can't be written while it is removed", "container", c.name(), "error", err)
		c.rec.State = removed
		c.publishLocked()
	}
	c.pod.tellLocked(c.id, EventRemoved)
	return true
}

// forget drops the last trace of a removed container, once nothing of it is left in the kernel.
func (c *Container) forget() error {
	if err := c.pod.rt.trash(c.id); err != nil {
		return err
	}
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	if err := c.pod.rt.records.Delete(c.pod.id, record.Container(c.id)); err != nil {
		return err
	}
	delete(c.pod.mu.containers, c.id)
	if conn := c.pod.mu.conn; conn != nil && c.unsaved {
		// Not under the lock, and not for anybody's answer: what pause can't forget now goes with it.
		c.pod.rt.work.Go(func() { c.pod.acknowledge(conn, pauseID(c.id)) })
	}
	return nil
}
