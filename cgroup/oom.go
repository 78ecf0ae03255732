package cgroup

import (
	"fmt"
	"strconv"
	"strings"
)

// OOMKills counts the processes of this group, not of cgroups the app made
// below it, that the OOM killer has ended since the group was made, at whatever
// level the limit was hit. It is 0 without a memory controller. Read it before
// Remove. (v2 memory.events.local; v1 memory.oom_control.)
func (g *Group) OOMKills() (uint64, error) {
	file := "memory.oom_control"
	if g.h.onV2("memory") {
		file = "memory.events.local"
	}
	r := reader{g: g}
	text, ok := r.text("memory", file)
	if r.err != nil {
		return 0, fmt.Errorf("count OOM kills of cgroup %s: %w", g.path, r.err)
	}
	for line := range strings.Lines(text) {
		if value, found := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); found && ok {
			n, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("count OOM kills of cgroup %s: %s: %w", g.path, file, err)
			}
			return n, nil
		}
	}
	return 0, nil
}
