package pod

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"

	"podlet/cgroup"
	"podlet/internal/image"
	"podlet/internal/mount"
	"podlet/internal/network"
	"podlet/pod/record"
	"podlet/pod/spec"
)

// Runtime is all pods of one podlet. Its methods are the CRI's verbs; all are safe for concurrent use.
type Runtime struct {
	cfg     Config
	log     *slog.Logger
	images  *image.Store
	records *record.Store
	cgroups *cgroup.Hierarchy
	mounts  *mount.Mounter
	netns   *network.Pins
	machine spec.Machine
	nursery nursery
	janitor janitor
	layers  layerCounter
	parents parents
	flights flights
	events  events

	// life ends with Close; what outlasts a request runs under it.
	life context.Context
	end  context.CancelFunc
	// work is every goroutine that belongs to the Runtime; the package's comment lists them.
	work sync.WaitGroup

	mu struct {
		sync.RWMutex
		pods       map[string]*Pod
		containers map[string]*Container
	}
}

// Open opens the state left by an earlier podlet and begins to recover its pods; Recovered tells when that is over. The caller
// serves requests meanwhile: each waits for its own pod only.
func Open(cfg Config) (_ *Runtime, err error) {
	r := &Runtime{cfg: cfg, log: cfg.Log, images: cfg.Images}
	r.mu.pods, r.mu.containers = map[string]*Pod{}, map[string]*Container{}
	r.life, r.end = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	if err := r.directories(); err != nil {
		return nil, err
	}
	if r.cgroups, err = cgroup.Open(cfg.CgroupMount); err != nil {
		return nil, err
	}
	if r.mounts, err = mount.New(cfg.Root, mount.WayAuto); err != nil {
		return nil, err
	}
	if r.netns, err = network.OpenPins(cfg.NetNSDir); err != nil {
		return nil, err
	}
	if r.machine, err = InspectMachine(r.cgroups); err != nil {
		return nil, err
	}
	if r.records, err = record.Open(filepath.Join(cfg.Root, "state"), cfg.Log); err != nil {
		return nil, err
	}
	r.sayLimits()
	r.janitor.start(r)
	if err := r.recover(); err != nil {
		return nil, err
	}
	r.layers.start(r)
	return r, nil
}

func (r *Runtime) directories() error {
	for _, dir := range []string{r.cfg.Root, r.cfg.State, r.socketDir(), r.containersDir(), r.trashDir()} {
		f, err := record.PrivateDir(dir, r.log)
		if err != nil {
			return err
		}
		if dir == r.containersDir() {
			record.Spread(f, r.log)
		}
		f.Close()
	}
	return nil
}

func (r *Runtime) socketDir() string            { return filepath.Join(r.cfg.State, "pods") }
func (r *Runtime) socket(podID string) string   { return filepath.Join(r.socketDir(), podID) }
func (r *Runtime) containersDir() string        { return filepath.Join(r.cfg.Root, "containers") }
func (r *Runtime) trashDir() string             { return filepath.Join(r.cfg.Root, "trash") }
func (r *Runtime) layerDir(id string) string    { return filepath.Join(r.containersDir(), id) }
func (r *Runtime) upperDir(id string) string    { return filepath.Join(r.layerDir(id), "upper") }
func (r *Runtime) overlayWork(id string) string { return filepath.Join(r.layerDir(id), "work") }

// Close lets go of every pod and returns when nothing of podlet's own runs any more. The pods live on.
func (r *Runtime) Close() error {
	r.end()
	for _, p := range r.allPods() {
		p.letGo()
	}
	r.work.Wait()
	for _, p := range r.allPods() {
		p.letGo() // those that were just being recovered
	}
	errs := []error{r.nursery.close()}
	if r.mounts != nil {
		errs = append(errs, r.mounts.Close())
	}
	if r.records != nil {
		errs = append(errs, r.records.Close())
	}
	if r.netns != nil {
		errs = append(errs, r.netns.Close())
	}
	if r.cgroups != nil {
		r.cgroups.Close()
	}
	return errors.Join(errs...)
}

// Machine says what this machine and podlet's privileges allow.
func (r *Runtime) Machine() spec.Machine { return r.machine }

func (r *Runtime) allPods() []*Pod {
	r.mu.RLock()
	defer r.mu.RUnlock()
	pods := make([]*Pod, 0, len(r.mu.pods))
	for _, p := range r.mu.pods {
		pods = append(pods, p)
	}
	return pods
}

func (r *Runtime) allContainers() []*Container {
	r.mu.RLock()
	defer r.mu.RUnlock()
	containers := make([]*Container, 0, len(r.mu.containers))
	for _, c := range r.mu.containers {
		containers = append(containers, c)
	}
	return containers
}

// pod finds a pod by its id, or the beginning of it, and waits until it is recovered.
func (r *Runtime) pod(ctx context.Context, id string) (*Pod, error) {
	r.mu.RLock()
	p, err := lookup(r.mu.pods, id)
	r.mu.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("pod: %w", err)
	}
	if p == nil {
		return nil, fmt.Errorf("pod %.100q: %w", id, ErrNotFound)
	}
	return p, p.awaitRecovery(ctx)
}

// container finds a container by its id, or the beginning of it, and waits until its pod is recovered.
func (r *Runtime) container(ctx context.Context, id string) (*Container, error) {
	r.mu.RLock()
	c, err := lookup(r.mu.containers, id)
	r.mu.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("container: %w", err)
	}
	if c == nil {
		return nil, fmt.Errorf("container %.100q: %w", id, ErrNotFound)
	}
	return c, c.pod.awaitRecovery(ctx)
}

func (p *Pod) awaitRecovery(ctx context.Context) error {
	select {
	case <-p.recovered:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for pause of pod %s after the restart of podlet: %w", p.name(), ctx.Err())
	}
}
