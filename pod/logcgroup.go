package pod

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"podlet/cgroup"
	"podlet/pause"
)

// A pod pays for its logs: its log writer is in a cgroup of its own beside the containers' ones, below the pod's cgroup parent. So what logging takes of CPU time,
// memory (the page cache of the files included) and disk counts against the pod's limits, and not against podlet's.
//
// The cgroup is made when pause tells that there is a writer, which most pods never have: off every caller's path, and behind the first line in the log. It goes
// when pause has gone. A writer that the pod's limits kill has a successor, see pause/src/logwriter.c.

// loggerRecord is the cgroup of a pod's log writer.
type loggerRecord struct {
	// Cgroup is its path, Made what podlet ever had to make above it.
	Cgroup string
	Made   []cgroup.Made
}

const (
	// chargeTime is how long podlet tries to give a log writer its cgroup. The next writer asks again.
	chargeTime = 2 * time.Second
	// flushTime is how long pause may take to say that all is in the logs, which is more than pause waits for that.
	flushTime = 300 * time.Millisecond
	// flushVersion is the protocol's version from which on pause can be asked.
	flushVersion = 3
)

// loggerPath is where the cgroup of the log writer of the pod podID is, below the pod's cgroup parent.
func loggerPath(parent cgroup.Path, podID string) (cgroup.Path, error) {
	return parent.Child("podlet-logger-" + podID)
}

// chargeLogger gives the pod's log writer its cgroup. The logs don't depend on it.
func (p *Pod) chargeLogger(conn *pause.Conn) {
	ctx, cancel := context.WithTimeout(p.rt.life, chargeTime)
	defer cancel()
	err := p.tryChargeLogger(ctx, conn)
	if err != nil && conn.Err() == nil && p.orphaned() {
		p.rt.log.Warn("what a pod's logs take can't be charged to the pod; it is charged to podlet", "pod", p.name(), "id", p.id, "error", err)
	}
}

func (p *Pod) tryChargeLogger(ctx context.Context, conn *pause.Conn) error {
	if err := p.lockLogger(ctx); err != nil {
		return err
	}
	defer p.unlockLogger()
	path, err := p.noteLogger()
	if err != nil {
		return err
	}
	group, made, err := p.rt.createGroup(ctx, path, nil)
	if errors.Is(err, fs.ErrExist) {
		group, err = p.rt.cgroups.Load(path)
	}
	if err != nil {
		return err
	}
	defer group.Close()
	if made != nil {
		p.mu.Lock()
		p.mu.rec.Logger = &loggerRecord{path.String(), made}
		p.mu.Unlock()
	}
	return chargeTo(ctx, conn, group)
}

func chargeTo(ctx context.Context, conn *pause.Conn, group *cgroup.Group) error {
	joins, err := group.JoinFiles()
	if err != nil {
		return err
	}
	var to pause.WriterCgroups
	for _, j := range joins {
		defer j.File.Close()
		to.Join = append(to.Join, j.File)
	}
	if group.V2Dir() != nil {
		to.Into, err = detachedCgroup(group.V2Dir())
		if err != nil {
			return err
		}
		defer to.Into.Close()
	}
	err = conn.ChargeWriter(ctx, to)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// noteLogger records that there is to be a cgroup, with the parents that it is going to get, as Container.begin does, and gives its path.
func (p *Pod) noteLogger() (cgroup.Path, error) {
	parent, err := cgroup.ParsePath(p.spec.CgroupParent)
	if err != nil {
		return cgroup.Path{}, err
	}
	path, err := loggerPath(parent, p.id)
	if err != nil {
		return cgroup.Path{}, err
	}
	p.mu.Lock()
	noted := p.mu.rec.Logger != nil
	p.mu.Unlock()
	if noted {
		return path, nil
	}
	p.rt.parents.use(parent, p.rt.cgroups.Missing(path))
	if err := p.saveLogger(&loggerRecord{path.String(), p.rt.parents.known(parent)}); err != nil {
		return cgroup.Path{}, errors.Join(err, p.rt.leaveParent(parent))
	}
	return path, nil
}

func (p *Pod) saveLogger(l *loggerRecord) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.rec.State != PodReady {
		return fmt.Errorf("the pod is not ready: %w", ErrState)
	}
	return p.saveLocked(func(rec *podRecord) { rec.Logger = l })
}

// adoptLogger takes over the cgroup of which an earlier podlet's record tells.
func (p *Pod) adoptLogger() {
	if p.mu.rec.Logger == nil {
		return
	}
	path, err := cgroup.ParsePath(p.mu.rec.Logger.Cgroup)
	if err != nil || p.rebooted {
		p.mu.rec.Logger = nil
		return
	}
	p.rt.parents.use(path.Parent(), p.mu.rec.Logger.Made)
}

// guessLogger assumes a cgroup beside a container's, for a pod whose own record is lost.
func (p *Pod) guessLogger(container cgroup.Path, made []cgroup.Made) {
	if p.mu.rec.State != podRemoved || p.mu.rec.Logger != nil {
		return
	}
	if path, err := loggerPath(container.Parent(), p.id); err == nil {
		p.mu.rec.Logger = &loggerRecord{path.String(), made}
		p.adoptLogger()
	}
}

// removeLogger removes the log writer's cgroup, once pause has ended; the record learns it when it is written next. What hangs on a disk keeps it.
func (p *Pod) removeLogger(ctx context.Context) error {
	if err := p.lockLogger(ctx); err != nil {
		return err
	}
	defer p.unlockLogger()
	p.mu.Lock()
	logger := p.mu.rec.Logger
	p.mu.Unlock()
	if logger == nil {
		return nil
	}
	path, err := cgroup.ParsePath(logger.Cgroup)
	if err != nil {
		return err
	}
	group, err := p.rt.loadGroup(logger.Cgroup)
	if err != nil {
		return err
	}
	if group != nil {
		defer group.Close()
		if err := endGroup(ctx, group); err != nil {
			return err
		}
	}
	p.mu.Lock()
	p.mu.rec.Logger = nil
	p.mu.Unlock()
	return p.rt.leaveParent(path.Parent())
}

func (p *Pod) lockLogger(ctx context.Context) error {
	select {
	case p.logger <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the cgroup of the pod's log writer: %w", ctx.Err())
	}
}

func (p *Pod) unlockLogger() { <-p.logger }

// hasLogger says whether there is, or may be, a cgroup of a log writer.
func (p *Pod) hasLogger() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.rec.Logger != nil
}

// flushLogs has what ended containers wrote get to their logs before pause is killed, where it doesn't take long: the pod's own CPU limit may hold the writer up.
func (p *Pod) flushLogs(ctx context.Context) {
	conn := p.conn()
	if conn == nil || conn.Version() < flushVersion || !p.hasLogger() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, flushTime)
	defer cancel()
	err := conn.FlushLogs(ctx)
	if err != nil && !errors.Is(err, pause.ErrLost) && !errors.Is(err, os.ErrClosed) {
		p.rt.log.Warn("pause doesn't say whether all is in the logs of a pod that is stopped", "pod", p.name(), "id", p.id, "error", err)
	}
}
