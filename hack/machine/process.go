package machine

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Process is one that runs, or is a zombie that its parent hasn't reaped.
type Process struct {
	PID, Parent int
	Name        string
}

func (p Process) String() string { return fmt.Sprintf("%d %s", p.PID, p.Name) }

// Descendants lists the processes below pid; it is never nil.
func Descendants(pid int) ([]Process, error) {
	all, err := processes()
	if err != nil {
		return nil, err
	}
	below := map[int]bool{pid: true}
	found := []Process{}
	for grown := true; grown; {
		grown = false
		for _, p := range all {
			if below[p.Parent] && !below[p.PID] {
				below[p.PID], grown = true, true
				found = append(found, p)
			}
		}
	}
	return found, nil
}

func processes() ([]Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var all []Process
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue // it ended between the two calls
		}
		if p, ok := parseStat(pid, string(stat)); ok {
			all = append(all, p)
		}
	}
	return all, nil
}

// parseStat reads proc_pid_stat(5): `PID (NAME) STATE PARENT ...`, where NAME
// may hold anything, brackets and spaces too.
func parseStat(pid int, stat string) (Process, bool) {
	open, end := strings.IndexByte(stat, '('), strings.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return Process{}, false
	}
	fields := strings.Fields(stat[end+1:])
	if len(fields) < 2 {
		return Process{}, false
	}
	parent, err := strconv.Atoi(fields[1])
	return Process{PID: pid, Parent: parent, Name: stat[open+1 : end]}, err == nil
}

// BecomeSubreaper makes this process the parent of every descendant that loses
// its own (PR_SET_CHILD_SUBREAPER), so that Descendants misses none.
func BecomeSubreaper() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become a subreaper: %w", err)
	}
	return nil
}

// Reap takes the exit status of every child that has ended. Children that
// somebody waits for must be none of them.
func Reap() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
	}
}
