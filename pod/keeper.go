package pod

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"podlet/pause"
)

// keep starts the pod's keeper, which waits for the end of pause or podlet, and for what pause asks for.
func (p *Pod) keep(conn *pause.Conn) {
	p.rt.work.Go(func() {
		for {
			select {
			case <-conn.Writer():
				p.chargeLogger(conn)
			case <-conn.Done():
				p.pauseLost(conn)
				return
			case <-p.rt.life.Done():
				return
			}
		}
	})
}

// dial connects to the pod's pause.
func (p *Pod) dial(ctx context.Context) (*pause.Conn, error) {
	// Nothing is handed out before the handshake is done, and after that Dial can't fail.
	dialed := make(chan *pause.Conn, 1)
	conn, err := pause.Dial(ctx, p.rt.socket(p.id), func(s pause.State) {
		conn := <-dialed
		dialed <- conn
		p.processEnded(conn, s)
	})
	if err == nil {
		dialed <- conn
	}
	return conn, err
}

// processEnded handles one exit, and lets pause forget it once it stands in a record.
func (p *Pod) processEnded(conn *pause.Conn, s pause.State) {
	p.mu.Lock()
	waiting, isExec := p.mu.execs[s.ID]
	delete(p.mu.execs, s.ID)
	c := p.containerOf(s.ID)
	p.mu.Unlock()
	if isExec {
		waiting <- s
	}
	if c != nil && !c.exited(s) {
		return // pause remembers what the disk doesn't
	}
	p.acknowledge(conn, s.ID)
}

// acknowledge lets pause forget an exit.
func (p *Pod) acknowledge(conn *pause.Conn, id pause.ID) {
	ctx, cancel := context.WithTimeout(p.rt.life, ackTime)
	defer cancel()
	err := conn.Ack(ctx, id)
	// A write that fails tells of pause's end before the connection does. ESRCH: it was heard of twice, in a list and by itself.
	if err == nil || p.rt.life.Err() != nil || conn.Err() != nil || errors.Is(err, pause.ErrLost) || errors.Is(err, unix.ESRCH) {
		return
	}
	p.rt.log.Warn("pause did not take the acknowledgement of an exit", "pod", p.name(), "error", err)
}

// ackTime is how long pause may take to acknowledge a message about a process that ended.
const ackTime = 2 * time.Second

// containerOf finds the container that pause knows by this id. p.mu is held.
func (p *Pod) containerOf(id pause.ID) *Container {
	for _, c := range p.mu.containers {
		if pauseID(c.id) == id {
			return c
		}
	}
	return nil
}

// pidfd is a copy of pause's pidfd, which the caller closes.
func (p *Pod) pidfd() (*os.File, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.pidfd == nil {
		return nil, errNoPause
	}
	return duplicate(p.mu.pidfd)
}

// lostTime is how long a pause that hung up may take to end before podlet speaks to it again.
const lostTime = time.Second

// pauseLost handles the end of the connection: pause has ended, or has hung up on a podlet that didn't read for long, or the pod is being torn
// down, and whoever does that sees to the rest.
func (p *Pod) pauseLost(conn *pause.Conn) {
	pidfd, err := p.pidfd()
	if err != nil {
		return
	}
	defer pidfd.Close()
	if !p.orphaned() {
		return
	}
	ctx, cancel := context.WithTimeout(p.rt.life, lostTime)
	defer cancel()
	if pause.Exited(ctx, pidfd) != nil && p.orphaned() {
		conn.Close()
		ctx, cancel := context.WithTimeout(p.rt.life, recoverTime)
		defer cancel()
		if p.reconnect(ctx) {
			p.keep(p.conn())
			return
		}
	}
	if !p.orphaned() {
		return
	}
	p.rt.log.Error("pause has died, and with it its pod", "pod", p.name(), "id", p.id)
	p.lost("the pod's pause died")
}

// orphaned says that the pod should have a pause that speaks to podlet.
func (p *Pod) orphaned() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.rec.State == PodReady && p.rt.life.Err() == nil
}

// lost ends what may be left of a pod whose pause is gone or doesn't answer, without its help.
func (p *Pod) lost(why string) {
	ctx, cancel := context.WithTimeout(p.rt.life, killTime)
	defer cancel()
	p.killContainers()
	tear := p.tearDown
	if p.keepsNetwork() {
		tear = p.tearButNetwork
	}
	if err := tear(ctx); err != nil {
		p.rt.log.Error("can't take down a pod that was lost", "pod", p.name(), "id", p.id, "error", err)
	}
	p.allEnded(why)
}

// keepsNetwork says whether the pod, which ended without being asked to, has its network until somebody stops or removes it. One that was stopped has no
// namespace any more, nor has one from before the node's restart.
func (p *Pod) keepsNetwork() bool {
	p.mu.Lock()
	removing := p.mu.rec.State == podRemoved
	p.mu.Unlock()
	if removing || p.rebooted || !p.spec.OwnNetwork() {
		return false
	}
	ns, err := p.rt.netns.Open(p.id)
	if err == nil {
		ns.Close()
	}
	return !errors.Is(err, fs.ErrNotExist)
}

// killContainers kills what doesn't die with pause: where the pod has no guard, everything.
func (p *Pod) killContainers() {
	p.mu.Lock()
	containers := p.containersLocked()
	p.mu.Unlock()
	for _, c := range containers {
		if s := c.status.Load().State; s == Running || s == Starting {
			c.killGroup()
		}
	}
}

// allEnded records that the pod has ended: the sandbox is not ready, and what ran in it was killed.
func (p *Pod) allEnded(why string) {
	p.mu.Lock()
	p.notReadyLocked()
	containers := p.containersLocked()
	execs := p.mu.execs
	p.mu.execs = map[pause.ID]chan pause.State{}
	p.mu.Unlock()
	for _, waiting := range execs {
		close(waiting)
	}
	for _, c := range containers {
		c.killedWithPod(why)
	}
}

// notReadyLocked takes the pod's state back from ready; one that never was is half-made for as long as it is there. What can't be recorded happens
// all the same; a full disk must not keep a pod alive.
func (p *Pod) notReadyLocked() {
	if p.mu.rec.State != PodReady {
		return
	}
	if err := p.saveLocked(func(rec *podRecord) { rec.State = PodNotReady }); err != nil {
		p.rt.log.Error("a pod's record can't be written; after a restart of podlet it will read as before", "pod", p.name(), "error", err)
		p.mu.rec.State = PodNotReady
		p.publishLocked()
	}
	p.tellLocked(p.id, EventStopped)
}

func (p *Pod) containersLocked() []*Container {
	list := make([]*Container, 0, len(p.mu.containers))
	for _, c := range p.mu.containers {
		list = append(list, c)
	}
	return list
}

// listenTime is how long pause may take to say what has ended, where podlet could do without.
const listenTime = 100 * time.Millisecond

// lastWords records the exits that pause hasn't told of yet, because it was still reading the output. What it doesn't tell in time counts as killed.
func (p *Pod) lastWords(ctx context.Context) {
	conn := p.conn()
	if conn == nil || !p.anyRuns() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, listenTime)
	defer cancel()
	states, err := conn.List(ctx)
	if err != nil {
		return
	}
	for i := range states {
		s := &states[i]
		if !s.Running {
			p.processEnded(conn, *s)
		}
		s.Close()
	}
}

func (p *Pod) anyRuns() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.mu.containers {
		if c.rec.State == Running {
			return true
		}
	}
	return false
}

// letGo closes the pod's meters and the connection to pause, which lives on. Not under p.mu: conn.Close waits for processEnded, which takes it.
func (p *Pod) letGo() {
	p.meters.end()
	if conn := p.conn(); conn != nil {
		conn.Close()
	}
}

// end kills a process and waits until it has ended; of a PID namespace's first process that means all in it have.
func end(ctx context.Context, pidfd *os.File) error {
	if err := pause.Signal(pidfd, unix.SIGKILL); err != nil && !processGone(err) {
		return err
	}
	return pause.Exited(ctx, pidfd)
}
