package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const cgroupMount = "/sys/fs/cgroup"

// hierarchies are the roots of the machine's cgroup trees: one with pure v2, else those of v1 and of hybrid's v2.
func hierarchies() ([]string, error) {
	if _, err := os.Stat(filepath.Join(cgroupMount, "cgroup.controllers")); err == nil {
		return []string{cgroupMount}, nil
	}
	entries, err := os.ReadDir(cgroupMount)
	if err != nil {
		return nil, err
	}
	var roots []string
	for _, entry := range entries {
		// Names such as cpu are links to cpu,cpuacct.
		if entry.IsDir() {
			roots = append(roots, filepath.Join(cgroupMount, entry.Name()))
		}
	}
	return roots, nil
}

// makeCgroups makes the cgroup that the kubelet's own go below: it wants that to be there.
func makeCgroups(name string) error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	for _, root := range roots {
		dir := filepath.Join(root, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		if filepath.Base(root) != "cpuset" {
			continue
		}
		// A new cpuset of v1 is empty, and takes no process.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			value, err := os.ReadFile(filepath.Join(root, file))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, file), value, 0o644)
			}
			if err != nil {
				return fmt.Errorf("prepare the kubelet's cpuset: %w", err)
			}
		}
	}
	return nil
}

// cgroupsOf lists the cgroup of that name and all below it, in every hierarchy, parents first.
func cgroupsOf(name string) ([]string, error) {
	roots, err := hierarchies()
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, root := range roots {
		err := filepath.WalkDir(filepath.Join(root, name), func(path string, entry os.DirEntry, err error) error {
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			if err == nil && entry.IsDir() {
				dirs = append(dirs, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return dirs, nil
}

// podCgroups are those below the kubelet's that belong to a pod: podUID, perhaps below the pod's class (besteffort, burstable).
func podCgroups(name string) ([]string, error) {
	dirs, err := cgroupsOf(name)
	return slices.DeleteFunc(dirs, func(dir string) bool {
		_, below, _ := strings.Cut(dir, "/"+name+"/")
		return !strings.Contains(below, "/pod")
	}), err
}

// removeCgroups removes the cgroup and all below it, in every hierarchy.
func removeCgroups(name string) error {
	dirs, err := cgroupsOf(name)
	failed := []error{err}
	for _, dir := range slices.Backward(dirs) {
		failed = append(failed, os.Remove(dir))
	}
	return errors.Join(failed...)
}

// mountsBelow lists the mount points below dir, the last made first.
func mountsBelow(dir string) ([]string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		// proc_pid_mountinfo(5): the fifth field is the mount point.
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], dir+"/") {
			found = append(found, fields[4])
		}
	}
	slices.Reverse(found)
	return found, nil
}

// Places of a kubelet that no setting moves.
const (
	// linkDir has a link to every log.
	linkDir = "/var/log/containers"
	// pluginSocket is where device plugins register themselves.
	pluginSocket = "/var/lib/kubelet/device-plugins/kubelet.sock"
)

// fixedDirs are the directories that the kubelet makes for its fixed places, parents first.
var fixedDirs = []string{linkDir, "/var/lib/kubelet", "/var/lib/kubelet/device-plugins"}

// absentDirs are those of fixedDirs that are not there. A kubelet that runs already is an error: the two would share a socket.
func absentDirs() ([]string, error) {
	if conn, err := net.Dial("unix", pluginSocket); err == nil {
		conn.Close()
		return nil, fmt.Errorf("somebody serves %s: another kubelet runs on this machine, end it first", pluginSocket)
	}
	var absent []string
	for _, dir := range fixedDirs {
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			absent = append(absent, dir)
		}
	}
	return absent, nil
}

// clearFixed removes the links to what lies below dir, the socket, and the directories that are ours, if nobody else has put anything there.
func clearFixed(dir string, ours []string) error {
	var failed []error
	links, err := filepath.Glob(linkDir + "/*")
	failed = append(failed, err)
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, dir+"/") {
			failed = append(failed, os.Remove(link))
		}
	}
	paths := append(slices.Clone(ours), pluginSocket)
	for _, path := range slices.Backward(paths) {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// kubeletSysctls are those that a kubelet sets at its start.
var kubeletSysctls = []string{
	"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
}

func readSysctls() (map[string]string, error) {
	values := map[string]string{}
	for _, name := range kubeletSysctls {
		value, err := os.ReadFile("/proc/sys/" + name)
		if err != nil {
			return nil, err
		}
		values[name] = string(value)
	}
	return values, nil
}

func writeSysctls(values map[string]string) error {
	var failed []error
	for name, value := range values {
		path := "/proc/sys/" + name
		if now, err := os.ReadFile(path); err == nil && string(now) == value {
			continue
		}
		failed = append(failed, os.WriteFile(path, []byte(value), 0o644))
	}
	return errors.Join(failed...)
}
