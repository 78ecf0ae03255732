package cgroup

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Procs lists the processes in the group and in all cgroups below it, as pids
// of podlet's PID namespace, 0 for those of another one. A group that is gone
// has none.
func (g *Group) Procs(ctx context.Context) ([]int, error) {
	leaf, err := g.h.signal().root.openDir(g.path.rel)
	if gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open cgroup %s: %w", g.path, err)
	}
	defer leaf.close()
	pids, err := procsBelow(ctx, leaf)
	if err != nil {
		return nil, fmt.Errorf("list processes of cgroup %s: %w", g.path, err)
	}
	return pids, nil
}

func procsBelow(ctx context.Context, top dir) ([]int, error) {
	var pids []int
	err := top.walk(ctx, func(d dir) error {
		text, err := d.read("cgroup.procs")
		// A threaded v2 cgroup answers EOPNOTSUPP; its processes are listed above it.
		if gone(err) || errors.Is(err, unix.EOPNOTSUPP) {
			return nil
		}
		if err != nil {
			return err
		}
		for line := range strings.FieldsSeq(text) {
			pid, err := strconv.Atoi(line)
			if err != nil {
				return fmt.Errorf("read cgroup.procs: %w", err)
			}
			pids = append(pids, pid)
		}
		return nil
	}, nil)
	if gone(err) {
		err = nil
	}
	return pids, err
}
