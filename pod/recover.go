package pod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"podlet/cgroup"
	"podlet/pause"
	"podlet/pod/record"
)

// recoverTime is how long one pod's pause may take to answer a new podlet. Then the pod counts as lost, and is killed.
const recoverTime = 2 * time.Second

// recover reads the records and begins to find out about each pod, each on its own.
func (r *Runtime) recover() error {
	entries, quarantined, err := r.records.Load()
	if err != nil {
		return err
	}
	running, err := findPauses()
	if err != nil {
		return err
	}
	for _, q := range quarantined {
		r.sweepQuarantined(q, running)
	}
	for _, e := range entries {
		if err := r.restore(e, running); err != nil {
			q, err := r.records.Quarantine(e.PodID, e.Name, err.Error())
			if err != nil {
				return err
			}
			r.sweepQuarantined(q, running)
		}
	}
	pods := r.allPods()
	if err := r.sweepUnknown(); err != nil {
		return err
	}
	for _, p := range pods {
		r.work.Go(func() {
			ctx, cancel := context.WithTimeout(r.life, recoverTime)
			defer cancel()
			p.recover(ctx)
			close(p.recovered)
		})
	}
	return nil
}

// restore takes a record into the tables.
func (r *Runtime) restore(e record.Entry, running map[string]*os.File) error {
	id, isContainer := record.ContainerID(e.Name)
	if !isContainer {
		var rec podRecord
		if err := e.Decode(&rec); err != nil {
			return err
		}
		if rec.Spec == nil {
			return errors.New("the record of a pod has no spec")
		}
		p := r.newPod(e.PodID, rec.Spec)
		p.mu.rec = rec
		p.mu.pidfd = running[e.PodID[:31]]
		p.publishLocked()
		r.mu.pods[p.id] = p
		return nil
	}
	var rec containerRecord
	if err := e.Decode(&rec); err != nil {
		return err
	}
	p := r.mu.pods[e.PodID]
	if p == nil {
		return errors.New("its pod has no record")
	}
	if rec.Spec == nil || rec.Process == nil || rec.Image == nil {
		return errors.New("the record of a container has no spec")
	}
	c := &Container{pod: p, id: id, rec: rec, settled: make(chan struct{}), done: make(chan struct{})}
	if !e.SameBoot && rec.State != Exited && rec.State != removed {
		c.rec.State, c.rec.Finished = Exited, time.Now()
		c.rec.ExitCode, c.rec.Reason, c.rec.Message = exitNodeRebooted, ReasonRebooted, "the node was restarted"
		p.mu.rec.State = PodNotReady
	}
	if path, err := cgroup.ParsePath(rec.Cgroup); err == nil && rec.Cgroup != "" {
		r.parents.use(path.Parent(), rec.Made)
	}
	p.mu.containers[id] = c
	c.publishLocked()
	if rec.State == removed {
		return nil
	}
	r.mu.containers[id] = c
	if _, err := r.images.Hold(rec.Spec.ImageID, id); err != nil {
		r.log.Warn("a container's image is lost", "container", c.name(), "image", rec.Spec.Image, "error", err)
	}
	return nil
}

// recover finds out what became of the pod while no podlet was there.
func (p *Pod) recover(ctx context.Context) {
	p.mu.Lock()
	state, containers := p.mu.rec.State, p.containersLocked()
	p.mu.Unlock()
	if state == PodCreating {
		p.abandon(ctx)
		return
	}
	if state == PodReady && p.reconnect(ctx) {
		p.keep()
	} else {
		p.lost(ctx)
	}
	for _, c := range containers {
		c.settle()
	}
}

// abandon takes back a pod whose creation nobody was told of.
func (p *Pod) abandon(ctx context.Context) {
	p.rt.log.Info("a pod was being created as podlet ended; removing it", "pod", p.name(), "id", p.id)
	if err := p.remove(ctx); err != nil {
		p.rt.log.Error("can't remove a half-made pod", "pod", p.name(), "id", p.id, "error", err)
	}
}

// lost ends what may be left of a pod whose pause is gone or doesn't answer, without its help.
func (p *Pod) lost(ctx context.Context) {
	p.mu.Lock()
	containers := p.containersLocked()
	p.mu.Unlock()
	for _, c := range containers {
		c.killGroup()
	}
	if err := p.tearDown(ctx); err != nil {
		p.rt.log.Error("can't take down a pod that was lost", "pod", p.name(), "id", p.id, "error", err)
	}
	p.allEnded("the pod's pause was gone when podlet came back")
}

// reconnect speaks to the pod's pause and takes its word for what runs.
func (p *Pod) reconnect(ctx context.Context) bool {
	p.mu.Lock()
	pidfd := p.mu.pidfd
	p.mu.Unlock()
	if pidfd == nil {
		return false
	}
	conn, err := p.dial(ctx)
	if err != nil {
		p.rt.log.Error("the pause of a pod does not answer; the pod is ended", "pod", p.name(), "id", p.id, "error", err)
		return false
	}
	states, err := conn.List(ctx)
	if err != nil {
		conn.Close()
		p.rt.log.Error("the pause of a pod does not tell what runs; the pod is ended", "pod", p.name(), "id", p.id, "error", err)
		return false
	}
	p.mu.Lock()
	p.mu.conn = conn
	p.mu.Unlock()
	heard := map[pause.ID]bool{}
	for _, s := range states {
		heard[s.ID] = true
		p.reconcile(ctx, conn, s)
	}
	p.missing(heard)
	return true
}

// reconcile takes over one process that pause knows.
func (p *Pod) reconcile(ctx context.Context, conn *pause.Conn, s pause.State) {
	if s.ID == initID(p.id) && s.Running {
		p.mu.Lock()
		p.mu.init = s.PIDFD
		p.mu.Unlock()
		return
	}
	p.mu.Lock()
	c := p.containerOf(s.ID)
	p.mu.Unlock()
	switch {
	case c != nil && s.Running:
		c.takeOver(s)
	case c != nil:
		p.processEnded(conn, s)
	case s.Running:
		// An exec whose client went with the old podlet.
		pause.Signal(s.PIDFD, unix.SIGKILL)
		s.PIDFD.Close()
	default:
		if err := conn.Ack(ctx, s.ID); err != nil {
			p.rt.log.Warn("pause did not take the acknowledgement of an exit", "pod", p.name(), "error", err)
		}
	}
}

// takeOver makes a process that runs the container's own. One whose start was not confirmed is ending by itself: its gate is gone.
func (c *Container) takeOver(s pause.State) {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	if c.rec.State == Exited || c.rec.State == removed {
		pause.Signal(s.PIDFD, unix.SIGKILL)
		s.PIDFD.Close()
		return
	}
	c.pidfd = s.PIDFD
	group, err := c.pod.rt.loadGroup(c.rec.Cgroup)
	if err != nil {
		c.pod.rt.log.Error("can't open a container's cgroup", "container", c.name(), "error", err)
	}
	c.group = group
}

// missing settles the containers that should run and that pause doesn't know.
func (p *Pod) missing(heard map[pause.ID]bool) {
	p.mu.Lock()
	containers := p.containersLocked()
	p.mu.Unlock()
	for _, c := range containers {
		if !heard[pauseID(c.id)] {
			c.cannotRun(errors.New("podlet ended while it was starting the container"))
		}
	}
}

// settle closes what waits for a start or an end that is over, and takes away what an exited container left.
func (c *Container) settle() {
	c.pod.mu.Lock()
	state := c.rec.State
	c.pod.mu.Unlock()
	select {
	case <-c.settled:
	default:
		close(c.settled)
	}
	if state != Exited && state != removed {
		return
	}
	select {
	case <-c.done:
	default:
		close(c.done)
	}
	if state == removed {
		c.pod.rt.janitor.owe(c)
		return
	}
	c.pod.rt.janitor.clear(c)
}

// sweepQuarantined ends what a record that can't be read stood for.
func (r *Runtime) sweepQuarantined(q record.Quarantined, running map[string]*os.File) {
	if q.PodID == "" || (q.Name != record.Pod && q.Name != "") {
		return
	}
	if pidfd := running[q.PodID[:31]]; pidfd != nil {
		pause.Signal(pidfd, unix.SIGKILL)
	}
	if err := errors.Join(r.netns.Unpin(q.PodID), remove(r.socket(q.PodID))); err != nil {
		r.log.Error("can't sweep what a lost pod left", "id", q.PodID, "error", err)
	}
}

// sweepUnknown removes the sockets and writable layers that no record speaks of.
func (r *Runtime) sweepUnknown() error {
	sockets, err := os.ReadDir(r.socketDir())
	if err != nil {
		return err
	}
	for _, s := range sockets {
		if r.mu.pods[s.Name()] == nil {
			if err := errors.Join(os.RemoveAll(r.socket(s.Name())), r.netns.Unpin(s.Name())); err != nil {
				return fmt.Errorf("sweep %s: %w", r.socket(s.Name()), err)
			}
		}
	}
	layers, err := os.ReadDir(r.containersDir())
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, p := range r.mu.pods {
		for id := range p.mu.containers {
			known[id] = true
		}
	}
	for _, l := range layers {
		if !known[l.Name()] {
			if err := r.trash(l.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}
