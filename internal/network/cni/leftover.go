package cni

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// leftover is a plugin that a podlet which was killed left running.
type leftover struct {
	pid   int
	pidfd *os.File
}

func (l *leftover) close() { l.pidfd.Close() }

// unfinished says whose plugins may have been left running to do harm: those of attachments whose ADD has not ended, since what such a one adds after a
// DEL would stay for ever, and those of a GC, which would take pods for stale that are added now.
func (n *Network) unfinished() map[string]bool {
	keys := map[string]bool{}
	for pod, e := range n.mu.pods {
		if e.rec.Result == nil {
			keys[containerEnv+pod] = true
		}
	}
	if _, err := os.Lstat(n.usedDir()); err == nil {
		keys[n.collectorMark()] = true
	}
	return keys
}

// collectorMark stands in the environment of plugins of a GC: by the spec's variables it can't be told whose they are.
func (n *Network) collectorMark() string { return collectorEnv + n.cfg.Dir }

const collectorEnv = "PODLET_CNI_GC="

// findLeft looks for plugins that have one of the keys in their environment, as those have that they start.
func (n *Network) findLeft(keys map[string]bool) map[string][]*leftover {
	found := map[string][]*leftover{}
	if len(keys) == 0 {
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
	var here []int
	for _, p := range procs {
		pid, err := strconv.Atoi(p.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		// What runs in a container has a namespace of its own; its environment is its own making.
		if ns, err := os.Readlink(filepath.Join("/proc", p.Name(), "ns/pid")); err == nil && ns == own {
			here = append(here, pid)
		}
	}
	if blank := lookAt(here, keys, found); len(blank) > 0 {
		time.Sleep(execTime)
		lookAt(blank, keys, found)
	}
	return found
}

// lookAt adds those of the processes to found that have one of the keys in their environment, and gives those that show an empty one.
func lookAt(pids []int, keys map[string]bool, found map[string][]*leftover) (blank []int) {
	for _, pid := range pids {
		l, key, empty := look(pid, keys)
		if l != nil {
			found[key] = append(found[key], l)
		}
		if empty {
			blank = append(blank, pid)
		}
	}
	return blank
}

// execTime is more than an execve(2) takes, in the middle of which a process shows an empty environment.
const execTime = 50 * time.Millisecond

// look gives a process that has one of the keys in its environment, with that one, or says that it shows an empty environment.
func look(pid int, keys map[string]bool) (l *leftover, key string, empty bool) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, "", false
	}
	l = &leftover{pid, os.NewFile(uintptr(fd), "pidfd of "+strconv.Itoa(pid))}
	// Read behind the open: it is the same process, or it is gone.
	environ, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	if err != nil {
		l.close()
		return nil, "", false
	}
	for _, v := range bytes.Split(environ, []byte{0}) {
		if keys[string(v)] {
			return l, string(v), false
		}
	}
	l.close()
	if len(environ) > 0 {
		return nil, "", false
	}
	// A thread of the kernel's, or what has ended, has no program either.
	_, err = os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "exe"))
	return nil, "", err == nil
}

// leftRounds is how often awaitLeft looks again for what those that have ended, or were killed, had started.
const leftRounds = 3

// awaitLeft waits for the end of the plugins with the key that an earlier podlet left running: as long as this one would wait for its own, then it kills
// them. A plugin that ends by itself has noted what it took; one that is killed may not have.
func (n *Network) awaitLeft(ctx context.Context, key string, limit time.Duration) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for range leftRounds {
		n.mu.Lock()
		list := n.mu.left[key]
		n.mu.Unlock()
		if len(list) == 0 {
			break
		}
		n.cfg.Log.Info("waiting for CNI plugins that an earlier podlet left running", "of", key, "plugins", len(list))
		for _, l := range list {
			if err := n.awaitEnd(ctx, limited, l); err != nil {
				return err
			}
		}
		more := n.findLeft(map[string]bool{key: true})[key]
		n.mu.Lock()
		n.mu.left[key] = more
		n.mu.Unlock()
		for _, l := range list {
			l.close()
		}
	}
	return nil
}

// awaitEnd waits for the plugin until limited ends, and kills it then. When ctx ends it gives up.
func (n *Network) awaitEnd(ctx, limited context.Context, l *leftover) error {
	if ended(limited, l.pidfd) {
		return nil
	}
	if ctx.Err() != nil {
		return errClosing
	}
	n.cfg.Log.Warn("killing a CNI plugin that an earlier podlet left running", "pid", l.pid)
	if unix.PidfdSendSignal(int(l.pidfd.Fd()), unix.SIGKILL, nil, 0) == nil {
		// One that hangs in the kernel does nothing more.
		soon, cancel := context.WithTimeout(ctx, heldTime)
		defer cancel()
		ended(soon, l.pidfd)
	}
	return nil
}

// awaitCollector keeps pods from being added beside a GC of an earlier podlet. It is called before anything runs.
func (n *Network) awaitCollector() {
	n.mu.Lock()
	none := len(n.mu.left[n.collectorMark()]) == 0
	n.mu.Unlock()
	if none || !n.turns.TryAcquire(abreast) {
		return
	}
	n.work.Go(n.guard("end of an earlier CNI GC", func() {
		defer n.turns.Release(abreast)
		n.awaitLeft(n.life, n.collectorMark(), n.cfg.gcTime)
	}))
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
