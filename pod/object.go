package pod

import (
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"podlet/cgroup"
	"podlet/pause"
	"podlet/pod/record"
	"podlet/pod/spec"
	"podlet/pod/tape"
)

// Pod is one sandbox.
type Pod struct {
	rt     *Runtime
	id     string
	spec   *spec.Sandbox
	status atomic.Pointer[PodStatus]

	// recovered is closed when what an earlier podlet left of the pod is known. Before that no verb touches it.
	recovered chan struct{}

	mu struct {
		sync.Mutex
		rec        podRecord
		conn       *pause.Conn
		pidfd      *os.File // pause's; nil where none lives
		init       *os.File // pidfd of the PID 1 of a shared PID namespace
		containers map[string]*Container
		execs      map[pause.ID]chan pause.State
	}
}

// podRecord is what stands on disk of a pod.
type podRecord struct {
	Spec    *spec.Sandbox
	State   PodState
	Created time.Time
}

// Container is one container. Its mutable fields are guarded by its pod's mu.
type Container struct {
	pod    *Pod
	id     string
	status atomic.Pointer[ContainerStatus]

	rec     containerRecord
	group   *cgroup.Group // nil where it has none (any more)
	pidfd   *os.File      // of the app; nil unless running
	playing *tape.Tape    // what a start that is under way plays
	// clearing is held while the cgroup is taken away, before the pod's mu.
	clearing sync.Mutex
	// settled is closed when a start that was under way has ended, done when the container is exited.
	settled, done chan struct{}
}

// containerRecord is what stands on disk of a container.
type containerRecord struct {
	Spec                       *spec.Container
	Image                      *spec.Image
	Process                    *spec.Process
	State                      ContainerState
	Created, Started, Finished time.Time
	ExitCode                   int
	Reason, Message            string
	// Cgroup is the path of its cgroup, "" if there is none any more, Made what podlet ever had to make above it.
	Cgroup string
	Made   []cgroup.Made
	// OOMKills is the kernel's counter when the container was last looked at.
	OOMKills uint64
}

// name is how messages name the pod.
func (p *Pod) name() string { return p.spec.Namespace + "/" + p.spec.Name }

// Name is how messages name the container.
func (c *Container) name() string { return c.pod.name() + "/" + c.rec.Spec.Name }

func (c *Container) logPath() string {
	if c.rec.Spec.LogPath == "" || c.pod.spec.LogDirectory == "" {
		return ""
	}
	return filepath.Join(c.pod.spec.LogDirectory, c.rec.Spec.LogPath)
}

// saveLocked writes the pod's record and then shows the change. A record that can't be written leaves everything as it was.
func (p *Pod) saveLocked(change func(*podRecord)) error {
	next := p.mu.rec
	change(&next)
	if err := p.rt.records.Put(p.id, record.Pod, &next); err != nil {
		return err
	}
	p.mu.rec = next
	p.publishLocked()
	return nil
}

func (p *Pod) publishLocked() {
	p.status.Store(&PodStatus{ID: p.id, Spec: p.spec, State: p.mu.rec.State, Created: p.mu.rec.Created})
}

// saveLocked is Pod.saveLocked for a container.
func (c *Container) saveLocked(change func(*containerRecord)) error {
	next := c.rec
	change(&next)
	if err := c.pod.rt.records.Put(c.pod.id, record.Container(c.id), &next); err != nil {
		return err
	}
	c.rec = next
	c.publishLocked()
	return nil
}

// forceLocked shows the change whether or not it could be written: what happened has happened. The error is logged here, since no
// caller can do more about it.
func (c *Container) forceLocked(change func(*containerRecord)) {
	err := c.saveLocked(change)
	if err == nil {
		return
	}
	c.pod.rt.log.Error("a container's record can't be written; after a restart of podlet it will read as before",
		"container", c.id, "name", c.name(), "error", err)
	change(&c.rec)
	c.publishLocked()
}

func (c *Container) publishLocked() {
	r := &c.rec
	c.status.Store(&ContainerStatus{
		ID: c.id, PodID: c.pod.id, Spec: r.Spec, Process: r.Process, State: r.State,
		Created: r.Created, Started: r.Started, Finished: r.Finished,
		ExitCode: r.ExitCode, Reason: r.Reason, Message: r.Message,
		LogPath: c.logPath(), StopSignal: spec.StopSignal(r.Spec, r.Image),
	})
}
