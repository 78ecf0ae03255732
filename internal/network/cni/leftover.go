package cni

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// leftover is a plugin that a podlet which was killed left running.
type leftover struct {
	pid   int
	pidfd *os.File
}

func (l *leftover) close() { l.pidfd.Close() }

// findLeft looks for plugins of attachments whose ADD has not ended. What such a one adds after a DEL would stay for ever.
func (n *Network) findLeft() map[string][]*leftover {
	unfinished := map[string]bool{}
	for pod, e := range n.mu.pods {
		if e.rec.Result == nil {
			unfinished[pod] = true
		}
	}
	found := map[string][]*leftover{}
	if len(unfinished) == 0 {
		return found
	}
	own, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		n.cfg.Log.Error("can't look for CNI plugins that an earlier podlet left running", "error", err)
		return found
	}
	procs, err := os.ReadDir("/proc")
	if err != nil {
		n.cfg.Log.Error("can't look for CNI plugins that an earlier podlet left running", "error", err)
		return found
	}
	for _, p := range procs {
		pid, err := strconv.Atoi(p.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		// What runs in a container has a namespace of its own; its environment is its own making.
		if theirs, err := os.Readlink(filepath.Join("/proc", p.Name(), "ns/pid")); err != nil || theirs != own {
			continue
		}
		l, pod := look(pid)
		if l == nil {
			continue
		}
		if !unfinished[pod] {
			l.close()
			continue
		}
		found[pod] = append(found[pod], l)
	}
	return found
}

// look gives a process that is a plugin, with its pod. It is found by its environment, which it has of podlet, and so have those that it starts.
func look(pid int) (*leftover, string) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, ""
	}
	l := &leftover{pid, os.NewFile(uintptr(fd), "pidfd of "+strconv.Itoa(pid))}
	// Read behind the open: it is the same process, or it is gone.
	environ, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	if err != nil {
		l.close()
		return nil, ""
	}
	for _, v := range bytes.Split(environ, []byte{0}) {
		if pod, ok := strings.CutPrefix(string(v), containerEnv); ok {
			return l, pod
		}
	}
	l.close()
	return nil, ""
}

// awaitLeft waits for the end of the pod's plugins that an earlier podlet left running: as long as this one would wait for its own, then it kills
// them. A plugin that ends by itself has noted what it took; one that is killed may not have.
func (n *Network) awaitLeft(ctx context.Context, pod string) error {
	n.mu.Lock()
	list := n.left[pod]
	n.mu.Unlock()
	if len(list) == 0 {
		return nil
	}
	n.cfg.Log.Info("waiting for CNI plugins that an earlier podlet left running", "pod", pod, "plugins", len(list))
	limited, cancel := context.WithTimeout(ctx, n.cfg.Timeout)
	defer cancel()
	for _, l := range list {
		if ended(limited, l.pidfd) {
			continue
		}
		if ctx.Err() != nil {
			return errClosing
		}
		n.cfg.Log.Warn("killing a CNI plugin that an earlier podlet left running", "pod", pod, "pid", l.pid)
		if err := unix.PidfdSendSignal(int(l.pidfd.Fd()), unix.SIGKILL, nil, 0); err == nil {
			ended(ctx, l.pidfd)
		}
	}
	n.mu.Lock()
	delete(n.left, pod)
	n.mu.Unlock()
	for _, l := range list {
		l.close()
	}
	return nil
}

// ended waits until the process has ended; false: ctx was first.
func ended(ctx context.Context, pidfd *os.File) bool {
	for ctx.Err() == nil {
		fds := []unix.PollFd{{Fd: int32(pidfd.Fd()), Events: unix.POLLIN}}
		// A short turn, as poll(2) can't be told of ctx; it is rare and short-lived.
		got, err := unix.Poll(fds, 50)
		if err == nil && got > 0 {
			return true
		}
		if err != nil && err != unix.EINTR {
			return true
		}
	}
	return false
}
