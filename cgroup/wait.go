package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// WaitEmpty returns when no process is left in the group and in all cgroups
// below it, or with ctx's error. A group that is gone is empty. With a v2 tree
// it sleeps until the kernel reports the event, on V1 it looks every 1 to 20 ms.
func (g *Group) WaitEmpty(ctx context.Context) error {
	var err error
	if g.h.v2 != nil {
		err = waitUnpopulated(ctx, g.h.v2, g.path)
	} else {
		err = g.pollEmpty(ctx)
	}
	if err != nil {
		return fmt.Errorf("wait for the end of the processes of cgroup %s: %w", g.path, err)
	}
	return nil
}

// The kernel tells of one change of a cgroup.events in 10 ms (its
// CGROUP_FILE_NOTIFY_MIN_INTV) and of the next one late. What ends so soon after it
// was started would be waited for too long, so for as long as that the file is
// looked at as well: after 0.2 ms, 0.6 ms … 12.6 ms.
const (
	firstLook = 200 * time.Microsecond
	lastLook  = 32 * firstLook
)

// waitUnpopulated waits on cgroup.events, which becomes readable anew, for
// Go's poller, at each change. So a wait holds no thread.
func waitUnpopulated(ctx context.Context, t *tree, p Path) error {
	fd, err := t.root.open(p.rel+"/cgroup.events", unix.O_RDONLY|unix.O_NONBLOCK)
	if gone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open cgroup.events: %w", err)
	}
	f := os.NewFile(uintptr(fd), "cgroup.events")
	defer f.Close()
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for pause := firstLook; ; pause *= 2 {
		var until time.Time // none
		if pause <= lastLook {
			until = time.Now().Add(pause)
		}
		if err := f.SetReadDeadline(until); err != nil {
			return err
		}
		// Asked after the deadline is set, which may have replaced that of ctx's end.
		if err := ctx.Err(); err != nil {
			return err
		}
		err := untilUnpopulated(raw)
		if gone(err) {
			return nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
}

// untilUnpopulated reads at once and at each event, until the file's deadline.
func untilUnpopulated(raw syscall.RawConn) error {
	var buf [256]byte
	var readErr error
	err := raw.Read(func(fd uintptr) bool {
		n, err := retry(func() (int, error) { return unix.Pread(int(fd), buf[:], 0) })
		readErr = err
		return err != nil || strings.Contains(string(buf[:n]), "populated 0")
	})
	if readErr != nil {
		return fmt.Errorf("read cgroup.events: %w", readErr)
	}
	return err
}

func (g *Group) pollEmpty(ctx context.Context) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		pids, err := g.Procs(ctx)
		if err != nil || len(pids) == 0 {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}
