package cgroup

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Kill sends SIGKILL to all processes in the group and in all cgroups below it,
// forks included. It does not wait for them to end: see WaitEmpty. A group that
// is gone is success. Processes that something moved elsewhere are not reached.
//
// Where there is a v2 tree this is cgroup.kill (Linux 5.14). On V1 the group is
// frozen, so that nothing can fork away, its processes are signalled by pidfd,
// and it is thawed whatever happened.
func (g *Group) Kill(ctx context.Context) error {
	var err error
	if g.h.v2 != nil {
		err = killV2(g.h.v2, g.path)
	} else {
		err = g.killFrozen(ctx)
	}
	if err != nil {
		return fmt.Errorf("kill cgroup %s: %w", g.path, err)
	}
	return nil
}

func killV2(t *tree, p Path) error {
	err := t.root.write(p.rel+"/cgroup.kill", "1")
	if !gone(err) {
		return err
	}
	// Is the cgroup gone, or the kernel too old to have the file?
	d, gonErr := t.root.openDir(p.rel)
	if gonErr != nil {
		return nil
	}
	d.close()
	return fmt.Errorf("%w: cgroup.kill needs Linux 5.14: %w", ErrUnsupported, err)
}

// pidfdsAtOnce bounds the fds that killing holds: a fork bomb has more processes
// than podlet may open files.
const pidfdsAtOnce = 256

// signalAll sends SIGKILL to every process of d and below, atOnce of them at a time.
func signalAll(ctx context.Context, d dir, atOnce int) error {
	pids, err := procsBelow(ctx, d)
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(pids, atOnce) {
		if err := signalSome(ctx, d, chunk); err != nil {
			return err
		}
	}
	return nil
}

// signalSome signals those of pids that are still in d or below once a pidfd holds
// them, so that a reused pid is never hit.
func signalSome(ctx context.Context, d dir, pids []int) error {
	held := map[int]int{} // pid to pidfd
	defer func() {
		for _, fd := range held {
			unix.Close(fd)
		}
	}()
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) || pid == 0 {
			continue
		}
		if err != nil {
			return fmt.Errorf("open pidfd of process %d: %w", pid, err)
		}
		held[pid] = fd
	}
	again, err := procsBelow(ctx, d)
	if err != nil {
		return err
	}
	for _, pid := range again {
		fd, ok := held[pid]
		if !ok {
			continue
		}
		if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("send SIGKILL to process %d: %w", pid, err)
		}
	}
	return nil
}
