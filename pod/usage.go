package pod

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// LayerUsage is what a container's writable layer takes on the disk.
type LayerUsage struct {
	// Bytes are those of allocated blocks, as du(1) counts: a hole takes nothing, and a file with several names counts once.
	Bytes, Inodes uint64
	// Time is when the counting began; where nothing can change it any more, it is as of now.
	Time time.Time
}

// layerCount is what is known of a container's writable layer.
type layerCount struct {
	usage atomic.Pointer[LayerUsage]
	// asked is when somebody last asked, in Unix nanoseconds; 0: never.
	asked atomic.Int64
	// final says that usage is of a container that has ended.
	final atomic.Bool

	// begun is when the last walk began, walking says that it hasn't ended; both are the counter's own.
	begun   time.Time
	walking bool
}

const (
	// layerTurn is how old a count may be before the next begins, layerMemory for how long the layer of a container is counted that nobody asks for.
	// What is given is thus at most some 6 seconds old, but for layers whose counting takes longer than that.
	layerTurn   = 5 * time.Second
	layerMemory = 2 * time.Minute
	// layerWalks is how many layers are counted in turns, one of them with a hundred thousand files being no hindrance to the others. Each has a directory open.
	layerWalks = 16
	// layerWork is for how long the counter works before it rests nine times as long: a tenth of one CPU, or of what the disk can do, is the most it takes.
	layerWork = time.Millisecond
	layerRest = 9
)

// layerCounter counts writable layers in a goroutine of its own, which belongs to Runtime: no request ever walks a tree. Only those are counted that
// somebody asked for lately.
type layerCounter struct {
	rt   *Runtime
	wake chan struct{}
	// mountpoint is what kubelets are told of where the layers are.
	mountpoint string
	// work is what it has worked since it last rested.
	work time.Duration
}

func (l *layerCounter) start(rt *Runtime) {
	l.rt, l.wake = rt, make(chan struct{}, 1)
	l.mountpoint = rt.containersDir()
	var layers, images unix.Stat_t
	path := rt.images.FsInfo().Mountpoint
	if unix.Stat(l.mountpoint, &layers) == nil && unix.Stat(path, &images) == nil && layers.Dev == images.Dev {
		l.mountpoint = path
	}
	rt.work.Go(l.run)
}

// layerUsage gives what is known of the layer; nil where nothing is, as at the first time. That it was asked for lets the counting begin, or go on.
func (c *Container) layerUsage() *LayerUsage {
	now := time.Now()
	last := time.Unix(0, c.layer.asked.Swap(now.UnixNano()))
	if now.Sub(last) < layerMemory {
		usage := c.layer.usage.Load()
		if usage != nil && c.layer.final.Load() {
			return &LayerUsage{Bytes: usage.Bytes, Inodes: usage.Inodes, Time: now}
		}
		return usage
	}
	// What was counted before is too old to be told.
	c.layer.usage.Store(nil)
	c.layer.final.Store(false)
	poke(c.pod.rt.layers.wake)
	return nil
}

// LayersUsage adds up what is known of all writable layers, and how old the oldest part is.
func (r *Runtime) LayersUsage() LayerUsage {
	all := LayerUsage{Time: time.Now()}
	for _, c := range r.allContainers() {
		usage := c.layerUsage()
		if usage == nil {
			continue
		}
		all.Bytes += usage.Bytes
		all.Inodes += usage.Inodes
		if usage.Time.Before(all.Time) {
			all.Time = usage.Time
		}
	}
	return all
}

// LayersMountpoint is the directory by which the file system of the writable layers is known: the images' where both are on one. A kubelet takes
// two names for two disks.
func (r *Runtime) LayersMountpoint() string { return r.layers.mountpoint }

// run counts whatever is due, a directory of each layer in turns, until Runtime.Close.
func (l *layerCounter) run() {
	// The thread is never unlocked: it ends with the goroutine, and no other gets its low priority.
	runtime.LockOSThread()
	l.beNice()
	var walks []*layerWalk
	defer func() {
		for _, w := range walks {
			w.close()
		}
	}()
	for l.rt.life.Err() == nil {
		next := l.begin(&walks)
		if len(walks) == 0 {
			l.wait(next)
			continue
		}
		walks = slices.DeleteFunc(walks, func(w *layerWalk) bool { return l.rt.life.Err() == nil && !l.advance(w) })
	}
}

// beNice lets the disk serve everybody else first. Where that can't be had, the rests are what there is.
func (l *layerCounter) beNice() {
	const whoProcess, classIdle = 1, 3 << 13 // ioprio_set(2)
	if _, _, errno := unix.Syscall(unix.SYS_IOPRIO_SET, whoProcess, 0, classIdle); errno != 0 {
		l.rt.log.Debug("the counting of writable layers has no low I/O priority", "error", errno)
	}
}

// begin fills up walks with what is due, the oldest first, and gives the time until more is; 0: only after somebody asks.
func (l *layerCounter) begin(walks *[]*layerWalk) (next time.Duration) {
	if len(*walks) >= layerWalks {
		return 0
	}
	now := time.Now()
	l.rt.mu.RLock()
	var due []*Container
	for _, c := range l.rt.mu.containers {
		if c.layer.walking || c.layer.final.Load() || now.Sub(time.Unix(0, c.layer.asked.Load())) >= layerMemory {
			continue
		}
		if wait := layerTurn - now.Sub(c.layer.begun); wait <= 0 {
			due = append(due, c)
		} else if next == 0 || wait < next {
			next = wait
		}
	}
	l.rt.mu.RUnlock()
	slices.SortFunc(due, func(a, b *Container) int { return a.layer.begun.Compare(b.layer.begun) })
	for _, c := range due[:min(len(due), layerWalks-len(*walks))] {
		c.layer.begun, c.layer.walking = now, true
		*walks = append(*walks, newLayerWalk(c))
	}
	return next
}

// advance takes a walk one step further, and says whether there is more of it.
func (l *layerCounter) advance(w *layerWalk) (more bool) {
	began := time.Now()
	more, err := w.step()
	if !more {
		l.done(w, err)
	}
	if l.work += time.Since(began); l.work >= layerWork {
		rest := l.work * layerRest
		l.work = 0
		l.rest(rest)
	}
	return more
}

// done takes over the count. What was moved about while it was counted, or can't be read, is counted in part.
func (l *layerCounter) done(w *layerWalk, err error) {
	w.close()
	w.c.layer.walking = false
	if err != nil && !w.opened {
		return // it has just been removed
	}
	if err != nil {
		l.rt.log.Debug("a writable layer was counted in part", "container", w.c.name(), "id", w.c.id, "error", err)
	}
	w.c.layer.usage.Store(w.usage())
	w.c.layer.final.Store(w.final)
}

func (l *layerCounter) rest(most time.Duration) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.rt.life.Done():
	}
}

// wait waits for the next time that something is due; 0 is for ever.
func (l *layerCounter) wait(next time.Duration) {
	ctx, cancel := l.rt.life, context.CancelFunc(func() {})
	if next > 0 {
		ctx, cancel = context.WithTimeout(l.rt.life, next)
	}
	defer cancel()
	select {
	case <-l.wake:
	case <-ctx.Done():
	}
}

// errMoved: a directory's parent is another one than it was.
var errMoved = errors.New("it is moved about while it is counted")
