package pod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"podlet/cgroup"
)

// janitor takes away what can't always be taken away at once: cgroups whose processes hang in the kernel, and writable layers, which
// take long to delete. An obligation stands in the container's record (state "removed") until it is met, so it survives restarts.
//
// Layers and cgroups have a goroutine each: a disk that hangs must not keep processes alive.
type janitor struct {
	rt *Runtime
	// wake is for cgroups, waste for layers.
	wake, waste chan struct{}

	mu    sync.Mutex
	owing map[*Container]struct{}
	pods  map[*Pod]struct{} // removed but for what is owed of them, or half-made
	// loggers are the pods whose log writer's cgroup is owed.
	loggers map[*Pod]struct{}
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
	j.wake, j.waste = make(chan struct{}, 1), make(chan struct{}, 1)
	j.owing, j.pods, j.loggers = map[*Container]struct{}{}, map[*Pod]struct{}{}, map[*Pod]struct{}{}
	rt.work.Go(func() { j.repeat(j.wake, j.turn) })
	rt.work.Go(func() { j.repeat(j.waste, j.emptyTrash) })
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

// clearLogger removes the cgroup of the log writer of a pod whose pause has ended, off the caller's path.
func (j *janitor) clearLogger(p *Pod) {
	j.rt.work.Go(func() {
		ctx, cancel := context.WithTimeout(j.rt.life, killTime)
		defer cancel()
		if err := p.removeLogger(ctx); err != nil {
			j.mu.Lock()
			j.loggers[p] = struct{}{}
			j.mu.Unlock()
			poke(j.wake)
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

// finishPod removes a pod's record; where containers are still owed it stays, as that of a pod which is gone for everybody else.
func (j *janitor) finishPod(p *Pod) {
	if j.dropPod(p) {
		return
	}
	p.mu.Lock()
	if p.mu.rec.State != podRemoved {
		if err := p.saveLocked(func(rec *podRecord) { rec.State = podRemoved }); err != nil {
			j.rt.log.Error("can't write that a pod was removed; after a restart of podlet it will be there again", "pod", p.name(), "id", p.id, "error", err)
		}
	}
	p.mu.Unlock()
	j.owePod(p)
}

func (j *janitor) owePod(p *Pod) {
	j.mu.Lock()
	j.pods[p] = struct{}{}
	j.mu.Unlock()
	poke(j.wake)
}

// dropPod removes the record of a pod that has no containers any more, not even removed ones. A half-made pod may still have what it was made of.
func (j *janitor) dropPod(p *Pod) bool {
	p.mu.Lock()
	left, half := len(p.mu.containers), p.mu.rec.State == PodCreating
	p.mu.Unlock()
	if half {
		ctx, cancel := context.WithTimeout(j.rt.life, promptly)
		defer cancel()
		return p.removeHalf(ctx) == nil
	}
	if left > 0 || !j.dropLogger(p) {
		return false
	}
	if err := j.rt.records.DeletePod(p.id); err != nil {
		j.rt.log.Warn("can't delete a pod's record; podlet will try again", "pod", p.name(), "id", p.id, "error", err)
		return false
	}
	return true
}

// dropLogger removes the cgroup of a pod's log writer, and says whether it is gone.
func (j *janitor) dropLogger(p *Pod) bool {
	if !p.hasLogger() {
		return true
	}
	ctx, cancel := context.WithTimeout(j.rt.life, promptly)
	defer cancel()
	return p.removeLogger(ctx) == nil
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
	poke(j.wake)
}

func poke(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// repeat calls turn at once and whenever it is woken, and again, ever more seldom, as long as it gives false, until Runtime.Close.
func (j *janitor) repeat(wake chan struct{}, turn func() (done bool)) {
	wait := janitorTurn
	for j.rt.life.Err() == nil {
		var again <-chan time.Time
		if !turn() {
			again = time.After(wait)
		}
		select {
		case <-wake:
			wait = janitorTurn
		case <-again:
			wait = min(2*wait, janitorMost)
		case <-j.rt.life.Done():
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
	var loggers []*Pod
	for p := range j.loggers {
		loggers = append(loggers, p)
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
	for _, p := range loggers {
		if j.dropLogger(p) {
			j.mu.Lock()
			delete(j.loggers, p)
			j.mu.Unlock()
		}
	}
	for _, p := range pods {
		if !j.dropPod(p) {
			continue
		}
		j.mu.Lock()
		delete(j.pods, p)
		j.mu.Unlock()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.owing)+len(j.pods)+len(j.loggers) == 0
}

// removeGroup kills what is left in the container's cgroup and removes it with the parents that were made for it. It waits for a start
// that is under way: until that has ended the cgroup is the start's.
func (c *Container) removeGroup(ctx context.Context) error {
	if err := c.startOver(ctx); err != nil {
		return err
	}
	return c.clearGroup(ctx)
}

// startOver waits for the end of a start that is under way.
func (c *Container) startOver(ctx context.Context) error {
	c.pod.mu.Lock()
	starting := c.starting
	c.pod.mu.Unlock()
	if starting == nil {
		return nil
	}
	select {
	case <-starting:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the end of the container's start: %w", ctx.Err())
	}
}

// clearGroup is removeGroup for the start itself.
func (c *Container) clearGroup(ctx context.Context) error {
	select {
	case c.clearing <- struct{}{}:
		defer func() { <-c.clearing }()
	case <-ctx.Done():
		return fmt.Errorf("wait for the removal of the container's cgroup: %w", ctx.Err())
	}
	c.pod.mu.Lock()
	path := c.rec.Cgroup
	c.pod.mu.Unlock()
	if path == "" {
		return nil
	}
	if err := c.withGroup(func(group *cgroup.Group) error { return endGroup(ctx, group) }); err != nil {
		return err
	}
	return c.groupGone(path)
}

// awaitEmpty waits until nothing runs in the container's cgroup.
func (c *Container) awaitEmpty(ctx context.Context) error {
	return c.withGroup(func(group *cgroup.Group) error { return group.WaitEmpty(ctx) })
}

// endGroup ends what is in a cgroup, and removes it.
func endGroup(ctx context.Context, group *cgroup.Group) error {
	if err := group.Kill(ctx); err != nil {
		return err
	}
	if err := group.WaitEmpty(ctx); err != nil {
		return err
	}
	return group.Remove(ctx)
}

// withGroup calls use with the container's cgroup, which stays open meanwhile. Of a container that has none nothing is to be done.
func (c *Container) withGroup(use func(*cgroup.Group) error) error {
	c.using.RLock()
	defer c.using.RUnlock()
	c.pod.mu.Lock()
	group, path := c.group, c.rec.Cgroup
	c.pod.mu.Unlock()
	if path == "" {
		return nil
	}
	if group == nil {
		loaded, err := c.pod.rt.loadGroup(path)
		if loaded == nil {
			return err
		}
		defer loaded.Close()
		group = loaded
	}
	return use(group)
}

// groupGone notes that the container has no cgroup any more. The record learns it when it is written next: a cgroup that isn't there is no harm.
func (c *Container) groupGone(path string) error {
	c.using.Lock()
	c.pod.mu.Lock()
	if c.group != nil {
		c.group.Close()
		c.group = nil
	}
	c.rec.Cgroup = ""
	c.pod.mu.Unlock()
	c.using.Unlock()
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
	poke(r.janitor.waste)
	return nil
}

// emptyTrash deletes writable layers, and says whether all are gone.
func (j *janitor) emptyTrash() (done bool) {
	entries, err := os.ReadDir(j.rt.trashDir())
	if err != nil {
		j.rt.log.Warn("can't list the writable layers that are to be deleted", "error", err)
		return false
	}
	done = true
	for _, e := range entries {
		if j.rt.life.Err() != nil {
			return true
		}
		if err := os.RemoveAll(filepath.Join(j.rt.trashDir(), e.Name())); err != nil {
			j.rt.log.Warn("can't delete a writable layer; podlet will try again", "error", err)
			done = false
		}
	}
	return done
}
