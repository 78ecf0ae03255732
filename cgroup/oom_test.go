package cgroup

import (
	"fmt"
	"testing"
)

func TestOOMKills(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		need(t, h, "memory")
		g := create(t, h, path(t, "oom"), &Resources{MemoryLimitBytes: 32 * mib, MemorySwapLimitBytes: 32 * mib})
		c := start(t, g, fmt.Sprintf("alloc %d", 256*mib))
		c.cmd.Wait()
		if n, err := g.OOMKills(); err != nil || n != 1 {
			t.Errorf("OOM kills %d, %v", n, err)
		}
	})
}
