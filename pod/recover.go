package pod

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"podlet/cgroup"
	"podlet/pause"
	"podlet/pod/record"
	"podlet/pod/spec"
)

// recoverTime is how long one pod's pause may take to answer a new podlet. Then the pod counts as lost, and is killed: so it is many times what a pause
// needs on a machine that has far too much to do. Tests change it.
var recoverTime = 10 * time.Second

// recover reads the records and begins to find out about each pod, each on its own.
func (r *Runtime) recover() error {
	entries, quarantined, err := r.records.Load()
	if err != nil {
		return err
	}
	running, err := findPauses(containerIDs(entries, quarantined))
	if err != nil {
		return err
	}
	defer running.close()
	found := map[string]*Pod{}
	for _, e := range entries {
		if err := r.restore(e, found); err != nil {
			q, err := r.records.Quarantine(e.PodID, e.Name, err.Error())
			if err != nil {
				return err
			}
			quarantined = append(quarantined, q)
		}
	}
	for _, q := range quarantined {
		r.sweepQuarantined(q, found)
	}
	for id, p := range found {
		p.mu.pidfd = running.take(id)
		if p.mu.rec.State != podRemoved {
			r.mu.pods[id] = p
		}
	}
	r.images.HoldsComplete()
	r.sweepUnknown(found)
	if err := r.recoverNetwork(found); err != nil {
		r.log.Error("can't take back what an earlier podlet's pods had of the network", "error", err)
	}
	for _, p := range found {
		r.work.Go(func() {
			p.recover()
			close(p.recovered)
		})
	}
	return nil
}

// containerIDs are those of all containers that there is a record of, be it a damaged one.
func containerIDs(entries []record.Entry, quarantined []record.Quarantined) []string {
	var ids []string
	for _, e := range entries {
		if id, ok := record.ContainerID(e.Name); ok {
			ids = append(ids, id)
		}
	}
	for _, q := range quarantined {
		if id, ok := record.ContainerID(q.Name); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// restore takes a record into found and the tables. A pod's record comes before those of its containers.
func (r *Runtime) restore(e record.Entry, found map[string]*Pod) error {
	id, isContainer := record.ContainerID(e.Name)
	if isContainer {
		return r.restoreContainer(e, id, found)
	}
	var rec podRecord
	if err := e.Decode(&rec); err != nil {
		return err
	}
	if rec.Spec == nil {
		return errors.New("the record of a pod has no spec")
	}
	p := r.newPod(e.PodID, rec.Spec)
	p.mu.rec = rec
	p.rebooted = !e.SameBoot
	p.publishLocked()
	p.adoptLogger()
	found[p.id] = p
	return nil
}

func (r *Runtime) restoreContainer(e record.Entry, id string, found map[string]*Pod) error {
	var rec containerRecord
	if err := e.Decode(&rec); err != nil {
		return err
	}
	if rec.Spec == nil || rec.Process == nil || rec.Image == nil {
		return errors.New("the record of a container has no spec")
	}
	p := found[e.PodID]
	if p == nil {
		// The pod's own record is lost: what it stood for can't be shown any more, only taken away.
		p = r.remains(e.PodID, found)
	}
	if p.mu.rec.State == podRemoved {
		rec.State = removed
	}
	if p.mu.rec.State == PodCreating {
		// Only a pod that was ready ever had a container: this is a record from before, in place of one that is damaged.
		p.mu.rec.State = PodReady
		p.publishLocked()
	}
	c := p.newContainer(id, rec.Spec)
	c.process, c.rec = rec.Process, rec
	if !e.SameBoot {
		c.rebooted()
	}
	r.adopt(c)
	if c.rec.State == removed {
		return nil
	}
	r.mu.containers[id] = c
	if _, err := r.images.Hold(rec.Spec.ImageID, id); err != nil {
		r.log.Warn("a container's image is lost", "container", c.name(), "image", rec.Spec.Image, "error", err)
	}
	c.holdVolumeImages()
	return nil
}

// adopt puts a container with its record into its pod.
func (r *Runtime) adopt(c *Container) {
	if path, err := cgroup.ParsePath(c.rec.Cgroup); err == nil && c.rec.Cgroup != "" {
		r.parents.use(path.Parent(), c.rec.Made)
		c.pod.guessLogger(path, c.rec.Made)
	}
	c.pod.mu.containers[c.id] = c
	c.publishLocked()
}

// rebooted says what became of a container of an earlier boot. Its cgroup is gone, and one of its parent's name may be somebody else's now.
func (c *Container) rebooted() {
	c.rec.Cgroup, c.rec.Made = "", nil
	if c.rec.State == Exited || c.rec.State == removed {
		return
	}
	c.rec.State, c.rec.Finished = Exited, time.Now()
	c.rec.ExitCode, c.rec.Reason, c.rec.Message = exitNodeRebooted, reasonRebooted, "the node was restarted"
	c.unsaved = true
}

// remains gives the stand-in for a pod whose record is lost. Nobody sees it; it is there to be taken away.
func (r *Runtime) remains(id string, found map[string]*Pod) *Pod {
	p := r.newPod(id, &spec.Sandbox{Namespace: "lost", Name: id})
	p.mu.rec = podRecord{Spec: p.spec, State: podRemoved}
	p.publishLocked()
	found[id] = p
	return p
}

// sweepQuarantined sees to it that what a damaged record stood for is taken away.
func (r *Runtime) sweepQuarantined(q record.Quarantined, found map[string]*Pod) {
	if q.PodID == "" {
		return
	}
	p := found[q.PodID]
	if p == nil {
		p = r.remains(q.PodID, found)
	}
	id, isContainer := record.ContainerID(q.Name)
	if !isContainer || p.mu.containers[id] != nil {
		return
	}
	c := p.newContainer(id, &spec.Container{Name: id})
	c.process = &spec.Process{}
	c.rec = containerRecord{Spec: c.spec, Image: &spec.Image{}, Process: c.process, State: removed}
	if path, err := c.groupPath(); err == nil {
		c.rec.Cgroup = path.String()
	}
	r.adopt(c)
}

// recover finds out what became of the pod while no podlet was there.
func (p *Pod) recover() {
	p.mu.Lock()
	state, containers := p.mu.rec.State, p.containersLocked()
	for _, c := range containers {
		if c.unsaved {
			c.unsaved = !c.forceLocked(func(*containerRecord) {})
		}
	}
	p.mu.Unlock()
	switch {
	case state == PodCreating:
		p.abandon()
		return
	case !p.rebooted && p.reach() && state == PodReady:
		p.keep(p.conn())
	case p.rt.life.Err() != nil:
		return // this podlet ends as well; the next one may judge
	default:
		p.lost("the pod's pause was gone when podlet came back")
	}
	for _, c := range containers {
		c.settle()
	}
	if state == podRemoved {
		p.rt.janitor.finishPod(p)
	}
}

// abandon takes back a pod whose creation nobody was told of.
func (p *Pod) abandon() {
	p.rt.log.Info("a pod was being created as podlet ended; removing it", "pod", p.name(), "id", p.id)
	ctx, cancel := context.WithTimeout(p.rt.life, killTime)
	defer cancel()
	if err := p.removeHalf(ctx); err != nil {
		p.rt.janitor.owePod(p)
		p.rt.log.Error("can't remove a half-made pod; podlet will try again", "pod", p.name(), "id", p.id, "error", err)
	}
}

// reach is reconnect for a new podlet. Of a pod that is to end it asks all the same, for what ended before.
func (p *Pod) reach() bool {
	ctx, cancel := context.WithTimeout(p.rt.life, recoverTime)
	defer cancel()
	return p.reconnect(ctx)
}

// reconnect speaks to the pod's pause and takes its word for what runs.
func (p *Pod) reconnect(ctx context.Context) bool {
	pidfd, err := p.pidfd()
	if err != nil {
		return false
	}
	pidfd.Close()
	conn, err := p.dial(ctx)
	if err != nil {
		p.rt.log.Error("the pause of a pod does not answer", "pod", p.name(), "id", p.id, "error", err)
		return false
	}
	states, err := conn.List(ctx)
	if err != nil {
		conn.Close()
		p.rt.log.Error("the pause of a pod does not tell what runs", "pod", p.name(), "id", p.id, "error", err)
		return false
	}
	p.mu.Lock()
	p.mu.conn = conn
	p.mu.Unlock()
	heard := map[pause.ID]bool{}
	for _, s := range states {
		heard[s.ID] = true
		p.reconcile(conn, s)
	}
	p.missing(heard)
	return true
}

// reconcile takes over one process that pause knows.
func (p *Pod) reconcile(conn *pause.Conn, s pause.State) {
	p.mu.Lock()
	_, known := p.mu.execs[s.ID]
	c := p.containerOf(s.ID)
	p.mu.Unlock()
	switch {
	case !s.Running:
		p.processEnded(conn, s)
		if c == nil && !known && s.Kind == pause.KindExec {
			p.endExec(s.ID)
		}
	case s.ID == initID(p.id):
		p.takeInit(s.PIDFD)
	case c != nil:
		c.takeOver(s)
	case known:
		s.Close()
	default:
		// An exec whose client went with the old podlet.
		pause.Signal(s.PIDFD, unix.SIGKILL)
		s.Close()
		p.endExec(s.ID)
	}
}

func (p *Pod) takeInit(pidfd *os.File) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.init != nil {
		p.mu.init.Close()
	}
	p.mu.init = pidfd
}

// endExec ends all that an exec of an earlier podlet started, in whichever container that was.
func (p *Pod) endExec(id pause.ID) {
	p.mu.Lock()
	var paths []string
	for _, c := range p.mu.containers {
		if c.rec.Cgroup != "" {
			paths = append(paths, c.rec.Cgroup+"/"+execCgroup(hex.EncodeToString(id[:])))
		}
	}
	p.mu.Unlock()
	for _, path := range paths {
		group, err := p.rt.loadGroup(path)
		if group != nil {
			ctx, cancel := context.WithTimeout(p.rt.life, promptly)
			err = endGroup(ctx, group)
			cancel()
			group.Close()
		}
		if err != nil {
			// It goes with the container's.
			p.rt.log.Warn("can't end what an exec of an earlier podlet started", "pod", p.name(), "cgroup", path, "error", err)
		}
	}
}

// takeOver makes a process that runs the container's own. One whose start was not confirmed has not run one instruction of the app, and its gate is
// gone; it ends here as one that has no business any more.
func (c *Container) takeOver(s pause.State) {
	c.pod.mu.Lock()
	state := c.rec.State
	if state == Running {
		c.dropPidfdLocked()
		c.pidfd = s.PIDFD
		if c.group == nil {
			group, err := c.pod.rt.loadGroup(c.rec.Cgroup)
			if err != nil {
				c.pod.rt.log.Error("can't open a container's cgroup", "container", c.name(), "error", err)
			}
			c.group = group
		}
		c.followLog()
	}
	starting := c.starting != nil
	c.pod.mu.Unlock()
	if state == Running {
		return
	}
	defer s.Close()
	if starting {
		return // by this very podlet
	}
	pause.Signal(s.PIDFD, unix.SIGKILL)
	c.cannotRun(errors.New("podlet ended while it was starting the container"))
}

// missing settles the containers that should run and that pause doesn't know.
func (p *Pod) missing(heard map[pause.ID]bool) {
	p.mu.Lock()
	containers := p.containersLocked()
	p.mu.Unlock()
	for _, c := range containers {
		if !heard[pauseID(c.id)] {
			c.vanished()
		}
	}
}

// vanished settles a container that pause doesn't know.
func (c *Container) vanished() {
	c.pod.mu.Lock()
	state, starting := c.rec.State, c.starting != nil
	if state == Running {
		c.endLocked(ending{at: time.Now(), code: exitUnknown, reason: reasonUnknown, message: "it ended while no podlet was there, and how is not known"})
	}
	c.pod.mu.Unlock()
	if state == Running {
		c.pod.rt.janitor.clear(c)
	}
	if state == Starting && !starting {
		c.cannotRun(errors.New("podlet ended while it was starting the container"))
	}
}

// settle closes what waits for an end that was before, and takes away what an exited container left.
func (c *Container) settle() {
	c.pod.mu.Lock()
	state := c.rec.State
	if state == Exited || state == removed {
		select {
		case <-c.done:
		default:
			close(c.done)
		}
	}
	c.pod.mu.Unlock()
	switch state {
	case removed:
		c.pod.rt.janitor.owe(c)
	case Exited:
		c.pod.rt.janitor.clear(c)
	}
}

// sweepUnknown removes the sockets and writable layers that no record speaks of. What can't be removed keeps nobody from starting.
func (r *Runtime) sweepUnknown(found map[string]*Pod) {
	r.sweepDir(r.socketDir(), func(name string) error {
		if found[name] != nil {
			return nil
		}
		err := os.RemoveAll(r.socket(name))
		if record.ValidID(name) {
			err = errors.Join(err, r.netns.Unpin(name))
		}
		return err
	})
	known := map[string]bool{}
	for _, p := range found {
		for id := range p.mu.containers {
			known[id] = true
		}
	}
	r.sweepDir(r.containersDir(), func(name string) error {
		if known[name] {
			return nil
		}
		return r.trash(name)
	})
}

func (r *Runtime) sweepDir(dir string, sweep func(name string) error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		r.log.Error("can't look for what an earlier podlet left", "error", err)
	}
	for _, e := range entries {
		if err := sweep(e.Name()); err != nil {
			r.log.Error("can't sweep what an earlier podlet left", "path", dir+"/"+e.Name(), "error", err)
		}
	}
}
