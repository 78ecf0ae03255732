package pod

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// traces is what podlet has made and not taken back, a line each, sorted: its files, goroutines and processes with theirs, cgroups,
// mounts, what lies in its directories, and what pods have of the network.
func (r *rig) traces() []string {
	lines := []string{fmt.Sprintf("goroutines %d", runtime.NumGoroutine())}
	for _, name := range openFiles(os.Getpid()) {
		if name == eventFD {
			continue // the reserve of package pause makes way and comes again
		}
		lines = append(lines, "podlet has open "+name)
	}
	for _, pid := range descendants(os.Getpid()) {
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if strings.HasPrefix(string(comm), "podlet-logger") {
			continue // comes with output and goes a minute later; its files are pause's, by a shared table
		}
		who := fmt.Sprintf("process %d %s", pid, bytes.TrimSpace(comm))
		lines = append(lines, who, fmt.Sprintf("%s has %d mounts", who, mountsOf(pid)))
		for _, name := range openFiles(pid) {
			if name == eventFD {
				continue // pause wakes its log writer by it
			}
			lines = append(lines, who+" has open "+name)
		}
	}
	lines = append(lines, r.ownMounts()...)
	trees, _ := filepath.Glob("/sys/fs/cgroup/*" + r.parent)
	for _, tree := range append(trees, "/sys/fs/cgroup"+r.parent) {
		lines = append(lines, dirsBelow("cgroup ", tree)...)
	}
	for _, dir := range []string{"root", "state", "netns"} {
		lines = append(lines, namesBelow(filepath.Join(r.dir, dir))...)
	}
	lines = append(lines, r.net.traces()...)
	slices.Sort(lines)
	return lines
}

const eventFD = "anon_inode:[eventfd]"

// numbers are what differs between two files of the same kind.
var numbers = regexp.MustCompile(`:\[\d+\]`)

func openFiles(pid int) []string {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, _ := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		name, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err == nil && !strings.HasPrefix(name, dir) {
			names = append(names, numbers.ReplaceAllString(name, ""))
		}
	}
	return names
}

// descendants lists the processes below pid, zombies too.
func descendants(pid int) []int {
	var found []int
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		list, _ := os.ReadFile(task)
		for _, field := range strings.Fields(string(list)) {
			child, err := strconv.Atoi(field)
			if err == nil {
				found = append(append(found, child), descendants(child)...)
			}
		}
	}
	return found
}

// ownMounts are those in the rig's directory. This namespace has others, copies of the node's, which go when somebody removes their mount points.
func (r *rig) ownMounts() []string {
	var lines []string
	list, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(list)) {
		if at := strings.Fields(line)[4]; strings.HasPrefix(at, r.dir) {
			lines = append(lines, "mount "+at)
		}
	}
	return lines
}

func mountsOf(pid int) int {
	list, _ := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	return bytes.Count(list, []byte("\n"))
}

func dirsBelow(kind, top string) []string {
	var lines []string
	filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			lines = append(lines, kind+path)
		}
		return nil
	})
	return lines
}

func namesBelow(top string) []string {
	var lines []string
	filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if err == nil {
			lines = append(lines, "file "+path)
		}
		return nil
	})
	return lines
}

// settleTime is how long the kernel and podlet's janitor may take to take something back.
const settleTime = time.Minute

// noTrace fails the test unless everything is as it was before, now or soon.
func (r *rig) noTrace(t *testing.T, before []string) {
	t.Helper()
	var after []string
	for deadline := time.Now().Add(settleTime); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if after = r.traces(); slices.Equal(after, before) {
			runtime.GC()
			return
		}
	}
	t.Errorf("left behind:\n%s", difference(before, after))
}

// settled is what there is once nothing changes any more, nor is anything under way that only waits for its turn, or for a disk.
func (r *rig) settled() []string {
	last, same := r.traces(), 0
	for deadline := time.Now().Add(settleTime); (same < 20 || !r.atRest()) && time.Now().Before(deadline); {
		time.Sleep(2 * time.Millisecond)
		now := r.traces()
		if same++; !slices.Equal(now, last) {
			last, same = now, 0
		}
	}
	return last
}

// atRest says that podlet's goroutines and processes all wait for something to happen, and that no layer is left to be deleted.
func (r *rig) atRest() bool {
	if entries, err := os.ReadDir(r.trashDir()); err != nil || len(entries) > 0 {
		return false
	}
	for _, pid := range descendants(os.Getpid()) {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if !bytes.Contains(stat, []byte(") S ")) {
			return false
		}
	}
	buf := make([]byte, 1<<20)
	for g := range bytes.SplitSeq(buf[:runtime.Stack(buf, true)], []byte("\n\n")) {
		if state, _, _ := bytes.Cut(g, []byte("\n")); bytes.Contains(state, []byte("[runnable")) || bytes.Contains(state, []byte("[syscall")) {
			return false
		}
	}
	return true
}

// difference lists the lines of which there are more on one side.
func difference(before, after []string) string {
	count := map[string]int{}
	for _, line := range before {
		count[line]--
	}
	for _, line := range after {
		count[line]++
	}
	var out []string
	for line, n := range count {
		if n != 0 {
			out = append(out, fmt.Sprintf("%+d %s", n, line))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}
