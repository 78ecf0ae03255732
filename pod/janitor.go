package pod

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"podlet/cgroup"
)

// janitor takes away what can't always be taken away at once: cgroups whose processes hang in the kernel, and writable layers, which
// take long to delete. An obligation stands in the container's record (state "removed") until it is met, so it survives restarts.
type janitor struct {
	rt   *Runtime
	wake chan struct{}

	mu    sync.Mutex
	owing map[*Container]struct{}
	pods  map[*Pod]struct{} // removed but for containers that are owed
}

const (
	// promptly is how long a request waits for a cgroup to go away.
	promptly = 200 * time.Millisecond
	// janitorTurn and janitorMost bound the time between two attempts.
	janitorTurn = 500 * time.Millisecond
	janitorMost = 30 * time.Second
)

func (j *janitor) start(rt *Runtime) {
	j.rt = rt
	j.wake = make(chan struct{}, 1)
	j.owing, j.pods = map[*Container]struct{}{}, map[*Pod]struct{}{}
	rt.work.Go(j.run)
}

// clear ends what a container that has exited left in its cgroup, and removes the cgroup, off the caller's path.
func (j *janitor) clear(c *Container) {
	j.rt.work.Go(func() {
		ctx, cancel := context.WithTimeout(j.rt.life, killTime)
		defer cancel()
		if err := c.removeGroup(ctx); err != nil {
			j.owe(c)
		}
	})
}

// finish does for a removed container what is left to do, now if it can be done promptly.
func (j *janitor) finish(ctx context.Context, c *Container) {
	ctx, cancel := context.WithTimeout(ctx, promptly)
	defer cancel()
	if err := j.attempt(ctx, c); err != nil {
		j.owe(c)
	}
}

// finishPod removes a pod's record, unless containers are still owed.
func (j *janitor) finishPod(p *Pod) error {
	p.mu.Lock()
	left := len(p.mu.containers)
	p.mu.Unlock()
	if left == 0 {
		return j.rt.records.DeletePod(p.id)
	}
	j.mu.Lock()
	j.pods[p] = struct{}{}
	j.mu.Unlock()
	return nil
}

func (j *janitor) attempt(ctx context.Context, c *Container) error {
	if err := c.removeGroup(ctx); err != nil {
		return err
	}
	c.pod.mu.Lock()
	gone := c.rec.State == removed
	c.pod.mu.Unlock()
	if !gone {
		return nil
	}
	return c.forget()
}

func (j *janitor) owe(c *Container) {
	j.mu.Lock()
	j.owing[c] = struct{}{}
	j.mu.Unlock()
	j.poke()
}

func (j *janitor) poke() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// run tries again what is owed, ever more slowly, until Runtime.Close.
func (j *janitor) run() {
	wait := janitorTurn
	for {
		timer := time.NewTimer(wait)
		select {
		case <-j.wake:
			wait = janitorTurn
		case <-timer.C:
			wait = min(2*wait, janitorMost)
		case <-j.rt.life.Done():
			timer.Stop()
			return
		}
		timer.Stop()
		j.emptyTrash()
		if j.turn() {
			wait = janitorMost
		}
	}
}

// turn tries everything once and says whether nothing is owed any more.
func (j *janitor) turn() bool {
	j.mu.Lock()
	var owing []*Container
	for c := range j.owing {
		owing = append(owing, c)
	}
	var pods []*Pod
	for p := range j.pods {
		pods = append(pods, p)
	}
	j.mu.Unlock()
	for _, c := range owing {
		ctx, cancel := context.WithTimeout(j.rt.life, promptly)
		err := j.attempt(ctx, c)
		cancel()
		if err != nil {
			continue
		}
		j.mu.Lock()
		delete(j.owing, c)
		j.mu.Unlock()
	}
	for _, p := range pods {
		p.mu.Lock()
		left := len(p.mu.containers)
		p.mu.Unlock()
		if left > 0 || j.rt.records.DeletePod(p.id) != nil {
			continue
		}
		j.mu.Lock()
		delete(j.pods, p)
		j.mu.Unlock()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.owing)+len(j.pods) == 0
}

// removeGroup kills what is left in the container's cgroup and removes it with the parents that were made for it.
func (c *Container) removeGroup(ctx context.Context) error {
	c.clearing.Lock()
	defer c.clearing.Unlock()
	c.pod.mu.Lock()
	group, path := c.group, c.rec.Cgroup
	c.pod.mu.Unlock()
	if path == "" {
		return nil
	}
	if group == nil {
		var err error
		if group, err = c.pod.rt.loadGroup(path); err != nil {
			return err
		}
		if group == nil {
			return c.groupGone(path)
		}
		defer group.Close()
	}
	if err := group.Kill(ctx); err != nil {
		return err
	}
	if err := group.WaitEmpty(ctx); err != nil {
		return err
	}
	if err := group.Remove(ctx); err != nil {
		return err
	}
	return c.groupGone(path)
}

// groupGone notes that the container has no cgroup any more.
func (c *Container) groupGone(path string) error {
	c.pod.mu.Lock()
	if c.group != nil {
		c.group.Close()
		c.group = nil
	}
	c.rec.Cgroup = ""
	c.pod.mu.Unlock()
	p, err := cgroup.ParsePath(path)
	if err != nil {
		return err
	}
	return c.pod.rt.leaveParent(p.Parent())
}

// loadGroup opens a cgroup by the path in a record; nil if there is none.
func (r *Runtime) loadGroup(path string) (*cgroup.Group, error) {
	p, err := cgroup.ParsePath(path)
	if err != nil {
		return nil, err
	}
	group, err := r.cgroups.Load(p)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return group, err
}

// trash moves a container's writable layer out of the way; the janitor deletes it.
func (r *Runtime) trash(id string) error {
	err := os.Rename(r.layerDir(id), filepath.Join(r.trashDir(), id))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	r.janitor.poke()
	return nil
}

func (j *janitor) emptyTrash() {
	entries, err := os.ReadDir(j.rt.trashDir())
	if err != nil {
		return
	}
	for _, e := range entries {
		if j.rt.life.Err() != nil {
			return
		}
		if err := os.RemoveAll(filepath.Join(j.rt.trashDir(), e.Name())); err != nil {
			j.rt.log.Warn("can't delete a writable layer; podlet will try again", "error", err)
		}
	}
}
