package pod

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"podlet/cgroup"
	"podlet/pause"
)

// presentCgroup opens the cgroup of the container's first process in the v2 tree, where that is not the container's own any more: an
// app with rights there may have moved itself down, and then nobody can join the container's.
func (c *Container) presentCgroup() (*cgroup.Group, error) {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	if c.pidfd == nil {
		return nil, fmt.Errorf("the container has ended: %w", ErrState)
	}
	pid, err := pause.PID(c.pidfd)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		parsed, err := cgroup.ParsePath(path)
		if err != nil {
			return nil, err
		}
		return c.pod.rt.cgroups.Load(parsed)
	}
	return nil, fmt.Errorf("process %d has no cgroup in the v2 tree: %w", pid, ErrUnsupported)
}

// killTree kills the process behind pidfd, which leads a session, and all that it started: what descends from it or is of its session.
// It looks again until it finds none, since they may fork meanwhile. A process that left both is not found; it is for
// execs without a cgroup of their own only.
func killTree(pidfd *os.File) error {
	leader, err := pause.PID(pidfd)
	if err != nil {
		leader = 0 // it has ended; its session is known by nobody any more
	}
	if err := pause.Signal(pidfd, unix.SIGKILL); err != nil && !processGone(err) {
		return err
	}
	for range 100 {
		found, err := members(leader)
		if err != nil || len(found) == 0 {
			return err
		}
		for _, pid := range found {
			unix.Kill(pid, unix.SIGKILL)
		}
	}
	return errors.New("the command's processes fork faster than they can be killed")
}

// members lists the live processes of the session that leader leads and their descendants.
func members(leader int) ([]int, error) {
	if leader == 0 {
		return nil, nil
	}
	pids, err := processes()
	if err != nil {
		return nil, err
	}
	parent, in := map[int]int{}, map[int]bool{leader: true}
	for _, pid := range pids {
		p, session, alive := family(pid)
		if !alive {
			continue
		}
		parent[pid] = p
		if session == leader {
			in[pid] = true
		}
	}
	var found []int
	for pid := range parent {
		for p := pid; p > 1; p = parent[p] {
			if in[p] {
				found = append(found, pid)
				break
			}
		}
	}
	return found, nil
}

// family reads a process's parent and session (proc_pid_stat(5)); a zombie counts as dead.
func family(pid int) (parent, session int, alive bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, false
	}
	// The name, in parentheses, may hold anything.
	rest := string(text[strings.LastIndexByte(string(text), ')')+1:])
	fields := strings.Fields(rest)
	if len(fields) < 4 || fields[0] == "Z" || fields[0] == "X" {
		return 0, 0, false
	}
	parent, _ = strconv.Atoi(fields[1])
	session, _ = strconv.Atoi(fields[3])
	return parent, session, true
}
