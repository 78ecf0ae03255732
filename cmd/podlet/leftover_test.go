package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// nothingLeft fails the test if anything of the pods that were ever run here is still there: records, layers, sockets, cgroups,
// network namespaces, processes, files that podlet has open beyond the number that it had (0: not looked at).
func (n *node) nothingLeft(files int) {
	n.t.Helper()
	var left []string
	// Layers are deleted, and what pause reports of ends is taken note of, after the answer; and what can't be taken away at once is tried again ever more seldom.
	for deadline := time.Now().Add(2 * hangTime); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		left = n.left()
		if open := n.openFiles(); files > 0 && open > files {
			left = append(left, fmt.Sprintf("%d files open in podlet, %d before:\n%s", open, files, n.listFiles()))
		}
		if len(left) == 0 {
			return
		}
	}
	n.t.Errorf("left behind: %s", strings.Join(left, ", "))
}

func (n *node) left() (left []string) {
	for _, dir := range []string{"root/containers", "root/trash", "root/state/pods", "root/state/quarantine", "state/pods", "state/network/leases", "root/cni/attachments"} {
		entries, _ := os.ReadDir(filepath.Join(n.dir, dir))
		for _, e := range entries {
			left = append(left, filepath.Join(dir, e.Name()))
		}
	}
	for _, pattern := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		found, _ := filepath.Glob(pattern + "/" + n.cgroup)
		left = append(left, found...)
	}
	n.pods.Lock()
	defer n.pods.Unlock()
	pauses := pauseIDs()
	for _, id := range n.pods.ids {
		if _, err := os.Lstat("/var/run/netns/" + id); err == nil {
			left = append(left, "network namespace "+id)
		}
		if pid := pauses[id[:31]]; pid != "" {
			left = append(left, "pause "+pid)
		}
	}
	return left
}

// pauseIDs gives the pid of each pause on the machine by what it has of its pod's id.
func pauseIDs() map[string]string {
	found := map[string]string{}
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range lines {
		line, _ := os.ReadFile(file)
		if id, ok := strings.CutPrefix(string(line), "podlet-pause "); ok {
			found[strings.TrimRight(id, "\x00 ")] = strings.Split(file, "/")[2]
		}
	}
	return found
}

// openFiles counts podlet's open files, but for device programs: package cgroup keeps some for the next container with the same rules.
func (n *node) openFiles() int { return strings.Count(n.listFiles(), "\n") }

func (n *node) listFiles() string {
	var all strings.Builder
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", n.cmd.Process.Pid))
	for _, f := range files {
		target, _ := os.Readlink(f)
		if target != "anon_inode:bpf-prog" {
			fmt.Fprintf(&all, "\t%s %s\n", filepath.Base(f), target)
		}
	}
	return all.String()
}

// tail gives the last lines of a text.
func tail(text string, lines int) string {
	all := strings.SplitAfter(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "")
}
