package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// crowdedRole is the first argument with which this program, started again, makes mounts and becomes another program.
const crowdedRole = "in-a-crowd-of-mounts"

// extraMounts is the crowd's size.
const extraMounts = 5000

// crowdRows has two podlets take turns: one that sees extraMounts more mounts, in a mount namespace of its own, and one that sees
// an own mount namespace without.
func crowdRows(ctx context.Context, o options) (_ []row, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var with, without bench
	defer with.close(&err)
	defer without.close(&err)
	if err := with.start(ctx, o, self, crowdedRole, strconv.Itoa(extraMounts)); err != nil {
		return nil, err
	}
	if err := without.start(ctx, o, self, crowdedRole, "0"); err != nil {
		return nil, err
	}
	var crowd, none []time.Duration
	for i := range warmUp + o.n {
		for _, side := range []struct {
			b     *bench
			times *[]time.Duration
		}{{&with, &crowd}, {&without, &none}} {
			r, err := side.b.round(ctx, false)
			if err != nil {
				return nil, fmt.Errorf("%w\n%s", err, side.b.node.LogTail())
			}
			if i >= warmUp {
				*side.times = append(*side.times, r.up)
			}
		}
	}
	r := timesRow(rowCrowd, crowd, nil)
	r.NoneP50 = int64(quantile(none, 50))
	r.Ratio = float64(r.P50) / float64(r.NoneP50)
	return []row{r}, nil
}

// crowded leaves for a mount namespace of its own, makes as many mounts there as its first argument says, and executes the others.
func crowded(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil || len(args) < 2 {
		return fmt.Errorf("%s: want a number and a command, not %q", crowdedRole, args)
	}
	program, err := exec.LookPath(args[1])
	if err != nil {
		return err
	}
	// The namespace is this thread's alone, and so is the exec.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if n > 0 {
		if err := makeMounts(n); err != nil {
			return err
		}
	}
	return syscall.Exec(program, args[1:], os.Environ())
}

// makeMounts covers /mnt with a tmpfs and mounts n-1 directories in it, as a node's volumes would be.
func makeMounts(n int) error {
	if err := unix.Mount("crowd", "/mnt", "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount tmpfs on /mnt: %w", err)
	}
	for i := range n - 1 {
		dir := filepath.Join("/mnt", strconv.Itoa(i))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind %s: %w", dir, err)
		}
	}
	return nil
}
