package pod

import (
	"context"
	"fmt"
	"sync"

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

// getNursery gives a nursery that was alive a moment ago.
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
	if err := fill(root, launch.NurseryDirs, launch.NurseryFiles, nil, owner{}); err != nil {
		return nil, fmt.Errorf("fill its root: %w", err)
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
