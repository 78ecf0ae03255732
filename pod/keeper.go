package pod

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"podlet/pause"
)

// keep starts the pod's keeper, which waits for the end of pause or podlet.
func (p *Pod) keep() {
	conn := p.conn()
	p.rt.work.Go(func() {
		select {
		case <-conn.Done():
			p.pauseLost()
		case <-p.rt.life.Done():
		}
	})
}

// dial connects to the pod's pause.
func (p *Pod) dial(ctx context.Context) (*pause.Conn, error) {
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

// processEnded handles one exit, and lets pause forget it once it stands in a record. It is called for one exit at a time.
func (p *Pod) processEnded(conn *pause.Conn, s pause.State) {
	p.mu.Lock()
	waiting, isExec := p.mu.execs[s.ID]
	delete(p.mu.execs, s.ID)
	c := p.containerOf(s.ID)
	p.mu.Unlock()
	switch {
	case isExec:
		waiting <- s
	case c != nil:
		c.exited(s)
	}
	ctx, cancel := context.WithTimeout(p.rt.life, ackTime)
	defer cancel()
	if err := conn.Ack(ctx, s.ID); err != nil && p.rt.life.Err() == nil {
		select {
		case <-conn.Done(): // pause is gone and has forgotten
		default:
			p.rt.log.Warn("pause did not take the acknowledgement of an exit", "pod", p.name(), "error", err)
		}
	}
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

// pauseLost handles the end of the connection: pause has ended, or it is being torn down.
func (p *Pod) pauseLost() {
	p.mu.Lock()
	pidfd, state := p.mu.pidfd, p.mu.rec.State
	p.mu.Unlock()
	if pidfd == nil || state != PodReady || p.rt.life.Err() != nil {
		return
	}
	// A pause that hung up is of no use, and one that is being killed has not quite ended.
	if err := end(p.rt.life, pidfd); err != nil {
		return
	}
	p.rt.log.Error("pause has died, and with it its pod", "pod", p.name(), "id", p.id)
	p.allEnded("the pod's pause died")
}

// allEnded records that the pod has ended without anybody's asking: the sandbox is not ready, its containers were killed.
func (p *Pod) allEnded(why string) {
	p.mu.Lock()
	if err := p.saveLocked(func(rec *podRecord) { rec.State = PodNotReady }); err != nil {
		p.rt.log.Error("a pod's record can't be written", "pod", p.name(), "error", err)
		p.mu.rec.State = PodNotReady
		p.publishLocked()
	}
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

func (p *Pod) containersLocked() []*Container {
	list := make([]*Container, 0, len(p.mu.containers))
	for _, c := range p.mu.containers {
		list = append(list, c)
	}
	return list
}

// letGo ends the connection to pause without ending pause. Close waits for processEnded, which takes the pod's lock.
func (p *Pod) letGo() {
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
