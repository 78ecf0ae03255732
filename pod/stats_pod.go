package pod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"podlet/cgroup"
	"podlet/internal/network"
)

// PodStats is what a pod uses: its cgroup parent, its network and its running containers.
type PodStats struct {
	*PodStatus
	// Stats is nil where the pod isn't ready, and where nothing has made its cgroup parent yet.
	*cgroup.Stats
	// Links are those of a ready pod's own network namespace, but lo; LinksTime is when they were read.
	Links      []network.Counters
	LinksTime  time.Time
	Containers []*ContainerStats
}

// podMeters are the files by which a pod's use is read, open from the first time that somebody asks. They keep the network namespace, and with it the
// pod's addresses, so the pod's end closes them for good.
type podMeters struct {
	mu    sync.Mutex
	ended bool
	group *cgroup.Meter
	links *network.Meter
}

func (m *podMeters) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
	if m.group != nil {
		m.group.Close()
	}
	if m.links != nil {
		m.links.Close()
	}
	m.group, m.links = nil, nil
}

// PodStats reads what one pod uses.
func (r *Runtime) PodStats(ctx context.Context, id string) (*PodStats, error) {
	p, err := r.pod(ctx, id)
	if err != nil {
		return nil, err
	}
	if p.status.Load().State == PodCreating {
		return nil, fmt.Errorf("pod %q: %w", id, ErrNotFound)
	}
	return p.stats()
}

// AllPodStats reads what the ready pods that want lets through use. Those of which a new podlet knows nothing yet are left out.
func (r *Runtime) AllPodStats(ctx context.Context, want func(*PodStatus) bool) []*PodStats {
	var list []*PodStats
	for _, p := range r.recoveredPods(ctx) {
		select {
		case <-p.recovered:
		default:
			continue
		}
		if st := p.status.Load(); st.State != PodReady || !want(st) {
			continue
		}
		s, err := p.stats()
		if err != nil {
			r.log.Warn("can't read what a pod uses", "pod", p.name(), "id", p.id, "error", err)
			continue
		}
		list = append(list, s)
	}
	return list
}

func (p *Pod) stats() (*PodStats, error) {
	s := &PodStats{PodStatus: p.status.Load()}
	p.mu.Lock()
	containers := p.containersLocked()
	p.mu.Unlock()
	s.Containers = p.rt.runningStats(containers, func(*ContainerStatus) bool { return true })
	if s.State != PodReady {
		return s, nil
	}
	p.meters.mu.Lock()
	defer p.meters.mu.Unlock()
	if p.meters.ended {
		return s, nil
	}
	var err error
	if s.Stats, err = p.cgroupStats(s.Containers); err != nil {
		return nil, fmt.Errorf("stats of pod %s: %w", p.name(), err)
	}
	if s.Links, err = p.linkStats(); err != nil {
		return nil, fmt.Errorf("network stats of pod %s: %w", p.name(), err)
	}
	s.LinksTime = time.Now()
	return s, nil
}

// cgroupStats reads the pod's cgroup parent, which a kubelet makes for the pod alone. The default one is all pods' that were given none: of it
// only what the pod's own containers use is the pod's.
func (p *Pod) cgroupStats(containers []*ContainerStats) (*cgroup.Stats, error) {
	if p.spec.CgroupParent == cgroup.DefaultParent {
		return sum(containers), nil
	}
	if p.meters.group == nil {
		path, err := cgroup.ParsePath(p.spec.CgroupParent)
		if err != nil {
			return nil, err
		}
		p.meters.group = p.rt.cgroups.Meter(path)
	}
	s, err := p.meters.group.Read()
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return s, err
}

// sum adds up what can be added: pressure can't, and the CPU time of containers that have ended is lost.
func sum(containers []*ContainerStats) *cgroup.Stats {
	all := &cgroup.Stats{Time: time.Now(), CPU: &cgroup.CPUStats{}, Memory: &cgroup.MemoryStats{Limit: -1}}
	for _, c := range containers {
		if c.CPU != nil {
			all.CPU.Usage += c.CPU.Usage
			if c.CPU.Rate != nil {
				rate := *c.CPU.Rate
				if all.CPU.Rate != nil {
					rate += *all.CPU.Rate
				}
				all.CPU.Rate = &rate
			}
		}
		if m := c.Memory; m != nil {
			all.Memory.Usage += m.Usage
			all.Memory.WorkingSet += m.WorkingSet
			all.Memory.RSS += m.RSS
			all.Memory.PageFaults += m.PageFaults
			all.Memory.MajorPageFaults += m.MajorPageFaults
		}
	}
	return all
}

// linkStats reads the links of the pod's own network namespace.
func (p *Pod) linkStats() ([]network.Counters, error) {
	if !p.spec.OwnNetwork() {
		return nil, nil
	}
	if p.meters.links == nil {
		ns, err := p.rt.netns.Open(p.id)
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil // the pod is ending
		}
		if err != nil {
			return nil, err
		}
		defer ns.Close()
		if p.meters.links, err = network.OpenMeter(ns); err != nil {
			return nil, err
		}
	}
	return p.meters.links.Read()
}
