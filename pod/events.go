package pod

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// EventType is what happened to a pod or a container.
type EventType int

// The types. Started means that the record says so, right before the program gets to run; one that can't be executed ends at once, with
// reason ContainerCannotRun. A start that is taken back has no EventStopped, though it may have an EventStarted.
const (
	EventCreated EventType = iota
	EventStarted
	EventStopped
	EventRemoved
)

// Event is one change, with how the whole pod was right after it. What it points to is shared and must not be changed.
type Event struct {
	// ID is the container's, or the pod's own where it is the sandbox that changed.
	ID         string
	Type       EventType
	Time       time.Time
	Pod        *PodStatus
	Containers []*ContainerStatus // the eldest first
}

// ErrBehind: whoever watches doesn't keep up.
var ErrBehind = errors.New("too far behind")

// maxEvents is how many events may wait for one watch: the sender is in the middle of a verb, and waits for nobody.
const maxEvents = 1000

// events are the watches there are. Its lock comes after all others.
type events struct {
	mu      sync.Mutex
	watches map[*Watch]bool
}

// Watch hears of everything that happens from the moment it was made. Its maker closes it.
type Watch struct {
	of *events
	// queue is closed, with events.mu held, when an event didn't fit.
	queue chan *Event
}

// Watch begins a watch.
func (r *Runtime) Watch() *Watch {
	w := &Watch{of: &r.events, queue: make(chan *Event, maxEvents)}
	r.events.mu.Lock()
	defer r.events.mu.Unlock()
	if r.events.watches == nil {
		r.events.watches = map[*Watch]bool{}
	}
	r.events.watches[w] = true
	return w
}

// Close ends the watch.
func (w *Watch) Close() {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	delete(w.of.watches, w)
}

// Next waits for the next event. An ErrBehind ends the watch: some have been lost.
func (w *Watch) Next(ctx context.Context) (*Event, error) {
	select {
	case e, ok := <-w.queue:
		if !ok {
			return nil, fmt.Errorf("%d events wait to be read and there are more: %w", maxEvents, ErrBehind)
		}
		return e, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (es *events) heard() bool {
	es.mu.Lock()
	defer es.mu.Unlock()
	return len(es.watches) > 0
}

func (es *events) tell(e *Event) {
	es.mu.Lock()
	defer es.mu.Unlock()
	for w := range es.watches {
		select {
		case w.queue <- e:
		default:
			delete(es.watches, w)
			close(w.queue)
		}
	}
}

// tellLocked tells whoever watches of a change to the pod or the container whose id it is. Both show it already.
func (p *Pod) tellLocked(id string, what EventType) {
	if !p.rt.events.heard() {
		return
	}
	e := &Event{ID: id, Type: what, Time: time.Now(), Pod: p.status.Load()}
	for _, c := range p.mu.containers {
		if s := c.status.Load(); s.State != removed {
			e.Containers = append(e.Containers, s)
		}
	}
	slices.SortFunc(e.Containers, func(a, b *ContainerStatus) int { return a.Created.Compare(b.Created) })
	p.rt.events.tell(e)
}
