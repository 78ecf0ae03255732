package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// process is one line of what ps shows.
type process struct {
	pid, parent int
	zombie      bool
	title       string
}

// sight is what is there of a node's pods for somebody who doesn't ask podlet. It is for private tests.
type sight struct {
	pauses     map[string]int   // by the beginning of the pod's id
	containers map[string][]int // processes by the container in whose cgroup they are
	cgroups    []string         // of containers, in whatever hierarchy
	pins       []string
	leases     []string // pods that have addresses
	sockets    []string
	pods       []string // directories of records
	layers     []string
	trash      []string
	mounts     map[string]bool
	strays     []string // processes that belong to no pod
}

func processes() map[int]process {
	all := map[int]process{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if p, ok := processAt(pid); ok {
			all[pid] = p
		}
	}
	// A parent that has ended meanwhile has left its children to another.
	for pid, p := range all {
		if _, ok := all[p.parent]; ok || p.parent == 0 {
			continue
		}
		if p, ok := processAt(pid); ok {
			all[pid] = p
		} else {
			delete(all, pid)
		}
	}
	return all
}

// processAt gives false if there is none.
func processAt(pid int) (process, bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, false
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	parent, _ := strconv.Atoi(fields[1])
	title, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return process{pid, parent, fields[0] == "Z" || fields[0] == "X", strings.TrimRight(strings.ReplaceAll(string(title), "\x00", " "), " ")}, true
}

// observe looks at the node. others are processes of the test's own.
func (n *node) observe(others ...int) *sight {
	s := &sight{pauses: map[string]int{}, containers: map[string][]int{}}
	s.pins, s.sockets = names("/run/netns"), names(n.dir+"/state/pods")
	s.pods, s.layers, s.trash = names(n.dir+"/root/state/pods"), names(n.dir+"/root/containers"), names(n.dir+"/root/trash")
	for _, lease := range names(n.dir + "/state/network/leases") {
		id, _, _ := strings.Cut(lease, "@")
		s.leases = append(s.leases, id)
	}
	s.mounts = mountTable()
	seen := map[string]bool{}
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		dirs, _ := filepath.Glob(root + "/" + n.cgroup)
		for _, dir := range dirs {
			for _, id := range names(dir) {
				if _, err := hex.DecodeString(id); err == nil && len(id) == 64 {
					seen[id] = true
				}
			}
		}
	}
	s.cgroups = slices.Sorted(maps.Keys(seen))
	all := processes()
	for _, p := range all {
		if p.zombie || !descends(all, p.pid, os.Getpid()) || slices.Contains(others, p.pid) {
			continue
		}
		if id, ok := strings.CutPrefix(p.title, "podlet-pause "); ok {
			s.pauses[id] = p.pid
			continue
		}
		if id := containerOf(p.pid); id != "" {
			s.containers[id] = append(s.containers[id], p.pid)
			continue
		}
		if n.cmd != nil && descends(all, p.pid, n.cmd.Process.Pid) && (p.pid == n.cmd.Process.Pid || p.title == "podlet-nursery") {
			continue
		}
		if !belongs(all, p.pid) {
			s.strays = append(s.strays, fmt.Sprintf("%d (%s)", p.pid, p.title))
		}
	}
	return s
}

// belongs says whether a process is pause's, as its log writer is.
func belongs(all map[int]process, pid int) bool {
	for p, ok := all[pid]; ok; p, ok = all[p.parent] {
		if strings.HasPrefix(p.title, "podlet-pause ") {
			return true
		}
	}
	return false
}

func descends(all map[int]process, pid, from int) bool {
	for p, ok := all[pid]; ok; p, ok = all[p.parent] {
		if p.pid == from {
			return p.pid != pid || pid != os.Getpid()
		}
	}
	return false
}

// containerOf gives the container in whose cgroup the process is.
func containerOf(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	for line := range strings.Lines(string(text)) {
		for part := range strings.SplitSeq(strings.TrimSpace(line), "/") {
			if _, err := hex.DecodeString(part); err == nil && len(part) == 64 {
				return part
			}
		}
	}
	return ""
}

func names(dir string) []string {
	entries, _ := os.ReadDir(dir)
	list := []string{}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// lists is what podlet says.
type lists struct {
	pods       map[string]*cri.PodSandbox
	containers map[string]*cri.Container
	// networked are pods that are not ready and have addresses still: they ended by themselves, and nobody stopped them yet.
	networked []string
}

func (n *node) lists() lists {
	n.t.Helper()
	pods, err := n.ListPodSandbox(n.ctx(), &cri.ListPodSandboxRequest{})
	if err != nil {
		n.t.Fatal(err)
	}
	containers, err := n.ListContainers(n.ctx(), &cri.ListContainersRequest{})
	if err != nil {
		n.t.Fatal(err)
	}
	l := lists{pods: map[string]*cri.PodSandbox{}, containers: map[string]*cri.Container{}}
	for _, p := range pods.Items {
		l.pods[p.Id] = p
		if p.State == cri.PodSandboxState_SANDBOX_READY || p.Labels[ownNetwork] == "" {
			continue
		}
		if r, err := n.PodSandboxStatus(n.ctx(), &cri.PodSandboxStatusRequest{PodSandboxId: p.Id}); err == nil && r.Status.Network.GetIp() != "" {
			l.networked = append(l.networked, p.Id)
		}
	}
	for _, c := range containers.Containers {
		l.containers[c.Id] = c
	}
	return l
}

// ownNetwork marks pods whose network namespace is their own, for the observer.
const ownNetwork = "own-network"

// differences compares what podlet says with what is there. mounts is the mount table without any pod.
func (l lists) differences(s *sight, mounts map[string]bool) (wrong []string) {
	add := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	var pods, ready, short, containers, running []string
	pins := slices.Clone(l.networked)
	for id, p := range l.pods {
		pods = append(pods, id)
		if p.State != cri.PodSandboxState_SANDBOX_READY {
			continue
		}
		ready, short = append(ready, id), append(short, id[:31])
		if p.Labels[ownNetwork] != "" {
			pins = append(pins, id)
		}
	}
	for id, c := range l.containers {
		containers = append(containers, id)
		switch c.State {
		case cri.ContainerState_CONTAINER_RUNNING:
			running = append(running, id)
		case cri.ContainerState_CONTAINER_UNKNOWN:
			add("container %s is UNKNOWN", id[:8])
		}
		if l.pods[c.PodSandboxId] == nil {
			add("container %s is in a pod that is not listed", id[:8])
		}
	}
	compare := func(what string, said, seen []string) {
		slices.Sort(said)
		slices.Sort(seen)
		if !slices.Equal(said, seen) {
			add("%s: podlet says %s, there are %s", what, brief(said), brief(seen))
		}
	}
	compare("pauses", short, slices.Collect(maps.Keys(s.pauses)))
	compare("containers with processes", running, slices.Collect(maps.Keys(s.containers)))
	compare("cgroups", running, s.cgroups)
	compare("pins", pins, s.pins)
	compare("leases", pins, s.leases)
	compare("sockets", ready, s.sockets)
	compare("records", pods, s.pods)
	compare("layers", containers, s.layers)
	compare("trash", nil, s.trash)
	compare("strays", nil, s.strays)
	maps.DeleteFunc(s.mounts, func(mount string, _ bool) bool { return mounts[mount] })
	if len(s.mounts) != len(pins) {
		add("%d pins, and more mounts on the host: %q", len(pins), slices.Sorted(maps.Keys(s.mounts)))
	}
	return wrong
}

func brief(ids []string) []string {
	out := []string{}
	for _, id := range ids {
		if len(id) >= 31 {
			id = id[:8]
		}
		out = append(out, id)
	}
	return out
}

// agree waits until podlet's lists and the observer agree. What podlet couldn't take away at once it tries again ever more seldom.
func (n *node) agree(mounts map[string]bool, others ...int) lists {
	n.t.Helper()
	var wrong []string
	for deadline := time.Now().Add(2 * hangTime); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		l := n.lists()
		if wrong = l.differences(n.observe(others...), mounts); len(wrong) == 0 {
			return l
		}
	}
	n.t.Fatalf("podlet and an observer don't agree:\n\t%s\npodlet's log:\n%s", strings.Join(wrong, "\n\t"), n.told())
	return lists{}
}

// told is what podlet logged last, but for the calls that went well.
func (n *node) told() string {
	var lines strings.Builder
	for line := range strings.Lines(n.log()) {
		if !strings.Contains(line, "level=DEBUG") {
			lines.WriteString(line)
		}
	}
	return tail(lines.String(), 60)
}

// mountTable is /proc/self/mountinfo by id and mount point. Copies of mounts that others on this machine made before may vanish from it.
func mountTable() map[string]bool {
	text, _ := os.ReadFile("/proc/self/mountinfo")
	table := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		table[fields[0]+" "+fields[4]] = true
	}
	return table
}

// emptied removes all pods and fails unless nothing is left.
func (n *node) emptied(mounts map[string]bool) {
	n.t.Helper()
	for id := range n.lists().pods {
		if _, err := n.RemovePodSandbox(n.ctx(), &cri.RemovePodSandboxRequest{PodSandboxId: id}); err != nil {
			n.t.Fatal(err)
		}
	}
	n.agree(mounts)
	// The parent of all goes a moment after the last record.
	n.soon("no cgroup is left behind", func() bool {
		return len(glob("/sys/fs/cgroup/"+n.cgroup))+len(glob("/sys/fs/cgroup/*/"+n.cgroup)) == 0
	})
	log := n.log()
	for _, bad := range []string{"DATA RACE", "panic"} {
		if i := strings.Index(log, bad); i >= 0 {
			n.t.Errorf("podlet's log tells of a %s:\n%s", bad, log[i:min(i+8000, len(log))])
		}
	}
}

func glob(pattern string) []string {
	found, _ := filepath.Glob(pattern)
	return found
}
