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
	// rebooted says that the record is of an earlier boot: nothing of the pod can be alive.
	rebooted bool
	// tearing holds a token while the pod is torn down.
	tearing chan struct{}
	// logger holds a token while the log writer's cgroup is made or removed.
	logger chan struct{}
	meters podMeters

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
	// Network is what the pod has got of the pod network; nil where it has nothing (any more).
	Network *Attachment `json:",omitempty"`
	// Logger is the cgroup of the pod's log writer; nil where there was none, or is none any more.
	Logger *loggerRecord `json:",omitempty"`
}

// Container is one container. Its mutable fields are guarded by its pod's mu.
type Container struct {
	pod    *Pod
	id     string
	status atomic.Pointer[ContainerStatus]
	// spec and process are those it was created with, and never change; the record's follow UpdateContainer.
	spec    *spec.Container
	process *spec.Process

	rec     containerRecord
	group   *cgroup.Group // nil where it has none (any more)
	pidfd   *os.File      // of the app; nil unless running
	playing *tape.Tape    // what a start that is under way plays
	failed  error         // why the launch failed, in the words of its tape; nil if it didn't, or hasn't yet
	unsaved bool          // its end stands in no record, and pause still remembers it
	// starting is closed when the start that is under way has ended; nil if none is. While it isn't, the cgroup is the start's.
	starting chan struct{}
	// takenBack is closed when the process of a start that is taken back has ended; nil if none is.
	takenBack chan struct{}
	// done is closed when the container is exited.
	done chan struct{}

	logs logTurns
	// clearing holds a token while the cgroup is taken away.
	clearing chan struct{}
	// using is held while the fd of group is used outside the pod's mu, and to close it. Order: using, then the pod's mu.
	using sync.RWMutex
	layer layerCount
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
	// LogLoss is final once the container is exited.
	LogLoss LogLoss
}

// name is how messages name the pod.
func (p *Pod) name() string { return p.spec.Namespace + "/" + p.spec.Name }

// name is how messages name the container.
func (c *Container) name() string { return c.pod.name() + "/" + c.spec.Name }

func (c *Container) logPath() string {
	if c.spec.LogPath == "" || c.pod.spec.LogDirectory == "" {
		return ""
	}
	return filepath.Join(c.pod.spec.LogDirectory, c.spec.LogPath)
}

func (p *Pod) newContainer(id string, s *spec.Container) *Container {
	return &Container{pod: p, id: id, spec: s, done: make(chan struct{}), logs: newLogTurns(), clearing: make(chan struct{}, 1)}
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
	state := p.mu.rec.State
	if p.rebooted && state == PodReady {
		state = PodNotReady
	}
	p.status.Store(&PodStatus{ID: p.id, Spec: p.spec, State: state, Created: p.mu.rec.Created, Network: p.mu.rec.Network})
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
func (c *Container) forceLocked(change func(*containerRecord)) (saved bool) {
	err := c.saveLocked(change)
	if err == nil {
		return true
	}
	c.pod.rt.log.Error("a container's record can't be written; after a restart of podlet it will read as before",
		"container", c.name(), "id", c.id, "error", err)
	change(&c.rec)
	c.publishLocked()
	return false
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
