package privatetest

import (
	"os"
	"slices"
	"strings"
)

// Mounts are the lines of the mount table, but for those of mounts that were there when Enter returned.
func Mounts() []string {
	table, _ := os.ReadFile("/proc/self/mountinfo")
	var own []string
	for line := range strings.Lines(string(table)) {
		if !inherited[strings.Fields(line)[0]] {
			own = append(own, line)
		}
	}
	return own
}

// Files are what this process has open, but for the runtime's own: those to wait for events and to read the cgroup's share of the processors.
func Files() []string {
	entries, _ := os.ReadDir("/proc/self/fd")
	var files []string
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.HasPrefix(target, "anon_inode:[event") && !strings.HasPrefix(target, "/sys/fs/cgroup") {
			files = append(files, target)
		}
	}
	return files
}

// Namespaces are those of a kind, such as "net", in which threads of this process are.
func Namespaces(kind string) []string {
	tasks, _ := os.ReadDir("/proc/self/task")
	var list []string
	for _, t := range tasks {
		if ns, err := os.Readlink("/proc/self/task/" + t.Name() + "/ns/" + kind); err == nil && !slices.Contains(list, ns) {
			list = append(list, ns)
		}
	}
	return list
}
