package pod

import (
	"context"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"podlet/internal/mount"
	"podlet/pause"
	"podlet/pod/launch"
)

// nursery keeps the process that pods are cloned from, and starts another when it has died. No pod depends on it.
type nursery struct {
	mu      sync.Mutex // held while a nursery is started, so that only one is
	running *pause.Nursery
}

func (n *nursery) close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.running == nil {
		return nil
	}
	err := n.running.Close()
	n.running = nil
	return err
}

// get returns a nursery that was alive a moment ago.
func (r *Runtime) getNursery(ctx context.Context) (*pause.Nursery, error) {
	n := &r.nursery
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.running != nil {
		select {
		case <-n.running.Done():
			r.log.Warn("the nursery has died; starting another", "error", n.running.Err())
			n.running.Close()
			n.running = nil
		default:
			return n.running, nil
		}
	}
	fresh, err := r.startNursery(ctx)
	if err != nil {
		return nil, fmt.Errorf("start the nursery: %w", err)
	}
	n.running = fresh
	return fresh, nil
}

// startNursery starts a nursery in a root of its own.
func (r *Runtime) startNursery(ctx context.Context) (*pause.Nursery, error) {
	root, err := mount.Tmpfs(mount.TmpfsConfig{Size: 64 << 10, Inodes: 64, Mode: 0o755, NoSuid: true, NoDev: true, NoExec: true})
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if err := fill(root, launch.NurseryDirs, launch.NurseryFiles, nil); err != nil {
		return nil, err
	}
	maskDir, err := r.mounts.MaskDir()
	if err != nil {
		return nil, err
	}
	defer maskDir.Close()
	maskFile, err := r.mounts.MaskFile()
	if err != nil {
		return nil, err
	}
	defer maskFile.Close()
	t, err := launch.Nursery()
	if err != nil {
		return nil, err
	}
	files := fds{launch.FDNurseryRoot: root, launch.FDMaskDir: maskDir, launch.FDMaskFile: maskFile}
	wire, passed, err := files.pack(t)
	if err != nil {
		return nil, err
	}
	fresh := make(chan *pause.Nursery, 1)
	n, err := pause.Start(ctx, pause.Options{Tape: wire, FDs: passed, OnExit: func(s pause.State) {
		n := <-fresh
		fresh <- n
		r.pauseReaped(n, s)
	}})
	if err != nil {
		return nil, explainFailure(t, err)
	}
	fresh <- n
	return n, nil
}

// pauseReaped lets the nursery forget a pause that has ended; what that means for the pod its keeper finds out.
func (r *Runtime) pauseReaped(n *pause.Nursery, s pause.State) {
	ctx, cancel := context.WithTimeout(r.life, ackTime)
	defer cancel()
	if err := n.Ack(ctx, s.ID); err != nil && r.life.Err() == nil {
		r.log.Warn("the nursery did not take the acknowledgement of an exit", "error", err)
	}
}

// owner is who a directory made for a pod belongs to.
type owner struct{ uid, gid int }

// fill makes directories and files in the file system behind root, which nobody else can see yet.
func fill(root *os.File, dirs, files []string, content map[string][]byte, owners ...owner) error {
	for _, dir := range dirs {
		if err := unix.Mkdirat(int(root.Fd()), dir, 0o755); err != nil {
			return fmt.Errorf("mkdir %s in a pod's tmpfs: %w", dir, err)
		}
		if err := give(root, dir, owners); err != nil {
			return err
		}
	}
	for _, file := range files {
		if err := write(root, file, content[file]); err != nil {
			return err
		}
		if err := give(root, file, owners); err != nil {
			return err
		}
	}
	return nil
}

func write(root *os.File, file string, content []byte) error {
	fd, err := unix.Openat(int(root.Fd()), file, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return fmt.Errorf("create %s in a pod's tmpfs: %w", file, err)
	}
	f := os.NewFile(uintptr(fd), file)
	defer f.Close()
	if _, err := f.Write(content); err != nil {
		return fmt.Errorf("write a pod's %s: %w", file, err)
	}
	return nil
}

func give(root *os.File, path string, owners []owner) error {
	for _, o := range owners {
		if err := unix.Fchownat(int(root.Fd()), path, o.uid, o.gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("chown %s in a pod's tmpfs: %w", path, err)
		}
	}
	return nil
}
