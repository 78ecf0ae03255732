package pod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"podlet/cgroup"
	"podlet/pod/spec"
)

// UpdateContainer changes the limits of a container that is created or runs: those that want names, the others stay. All or nothing.
// A created one gets them as it starts. oomScoreAdj is nil where it stays.
func (r *Runtime) UpdateContainer(ctx context.Context, id string, want *cgroup.Resources, oomScoreAdj *int) error {
	c, err := r.container(ctx, id)
	if err != nil {
		return err
	}
	if err := c.update(ctx, want, oomScoreAdj); err != nil {
		return fmt.Errorf("update container %s: %w", c.name(), err)
	}
	return nil
}

func (c *Container) update(ctx context.Context, want *cgroup.Resources, oomScoreAdj *int) error {
	state, err := c.settledState(ctx)
	if err != nil {
		return err
	}
	if state != Created && state != Running {
		return fmt.Errorf("it is %s: %w", state, ErrState)
	}
	c.using.RLock()
	defer c.using.RUnlock()
	c.pod.mu.Lock()
	group := c.group
	c.pod.mu.Unlock()
	if group != nil {
		if err := group.Update(ctx, want); err != nil {
			return err
		}
		if oomScoreAdj != nil {
			if err := adjustAll(ctx, group, *oomScoreAdj); err != nil {
				return err
			}
		}
	}
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	return c.saveLocked(func(rec *containerRecord) {
		changed := *rec.Spec
		changed.Resources = merged(changed.Resources, want)
		process := *rec.Process
		if oomScoreAdj != nil {
			changed.OOMScoreAdj, process.OOMScoreAdj = *oomScoreAdj, *oomScoreAdj
		}
		rec.Spec, rec.Process = &changed, &process
	})
}

// limits are the container's limits, and processNow its process, as of the last update.
func (c *Container) limits() cgroup.Resources {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	return c.rec.Spec.Resources
}

func (c *Container) processNow() *spec.Process {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	return c.rec.Process
}

// merged is old with what want names.
func merged(old cgroup.Resources, want *cgroup.Resources) cgroup.Resources {
	pick(&old.CPUPeriod, want.CPUPeriod)
	pick(&old.CPUQuota, want.CPUQuota)
	pick(&old.CPUShares, want.CPUShares)
	pick(&old.MemoryLimitBytes, want.MemoryLimitBytes)
	pick(&old.MemorySwapLimitBytes, want.MemorySwapLimitBytes)
	pick(&old.CpusetCPUs, want.CpusetCPUs)
	pick(&old.CpusetMems, want.CpusetMems)
	if want.HugepageLimits != nil {
		old.HugepageLimits = want.HugepageLimits
	}
	if want.Unified != nil {
		unified := map[string]string{}
		for _, from := range []map[string]string{old.Unified, want.Unified} {
			for key, value := range from {
				unified[key] = value
			}
		}
		old.Unified = unified
	}
	return old
}

func pick[T comparable](to *T, value T) {
	var zero T
	if value != zero {
		*to = value
	}
}

// adjustAll sets oom_score_adj of all processes in a group. As at a start, lowering it may not be allowed.
func adjustAll(ctx context.Context, group *cgroup.Group, score int) error {
	pids, err := group.Procs(ctx)
	if err != nil {
		return err
	}
	for _, pid := range pids {
		err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(strconv.Itoa(score)), 0)
		if err != nil && !processGone(err) && !errors.Is(err, unix.EACCES) {
			return fmt.Errorf("set oom_score_adj of process %d: %w", pid, err)
		}
	}
	return nil
}
