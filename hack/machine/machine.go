// Package machine takes stock of what programs may leave behind on a machine:
// mounts, cgroups, links, podlet's nftables tables, the switches of forwarding,
// loop devices, network namespaces, files, processes.
package machine

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"podlet/internal/network/bridge"
)

// Places in which programs leave files; only their own entries are compared, not what lies deeper.
var (
	// StatePlaces are those where few but services write.
	StatePlaces = []string{"/run", "/run/netns", "/var/lib"}
	// AllPlaces has those of temporary files too, where on a busy machine others come and go.
	AllPlaces = append([]string{"/tmp", "/var/tmp", "/dev/shm"}, StatePlaces...)
)

// forwarding are the switches, below /proc/sys, that a pod network sets.
var forwarding = []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"}

// Machine is what stands on the machine at one moment.
type Machine struct {
	// things are lines such as "mount /mnt (tmpfs)", with how many there are of each. The first word is the kind: mount,
	// cgroup, link, table, sysctl, loop, file.
	things map[string]int
	// others are the cgroups with processes of somebody else's in them or below.
	others map[string]bool
	places []string
}

// Count is how many things of a kind there are.
func (m *Machine) Count(kind string) int {
	count := 0
	for thing, n := range m.things {
		if strings.HasPrefix(thing, kind+" ") {
			count += n
		}
	}
	return count
}

// Changes says in words, sorted, how after differs: "left behind: " or "gone, but
// there before: " and the thing. A cgroup that somebody else uses is not left
// behind; a cgroup or a file that is gone is no change: owners come and go.
func (m *Machine) Changes(after *Machine) []string {
	var changes []string
	for thing, n := range after.things {
		if n > m.things[thing] && !after.others[thing] {
			changes = append(changes, "left behind: "+thing)
		}
	}
	for thing, n := range m.things {
		owned := !strings.HasPrefix(thing, "cgroup ") && !strings.HasPrefix(thing, "file ")
		if owned && n > after.things[thing] {
			changes = append(changes, "gone, but there before: "+thing)
		}
	}
	sort.Strings(changes)
	return changes
}

// Look takes stock, with the files in the given places. A cgroup is somebody else's if it has other processes than ours.
func Look(ours []Process, places []string) (*Machine, error) {
	m := &Machine{things: map[string]int{}, others: map[string]bool{}, places: places}
	if err := m.addMounts("/proc/self/mountinfo"); err != nil {
		return nil, err
	}
	own := map[int]bool{}
	for _, p := range ours {
		own[p.PID] = true
	}
	if err := m.addCgroups("/sys/fs/cgroup", own); err != nil {
		return nil, err
	}
	links, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	for _, link := range links {
		m.things["link "+link.Name]++
	}
	tables, err := bridge.Tables()
	if err != nil {
		return nil, err
	}
	for _, table := range tables {
		m.things["table "+table]++
	}
	for _, name := range forwarding {
		// Absent where the kernel lacks the protocol.
		if value, err := os.ReadFile("/proc/sys/" + name); err == nil {
			m.things["sysctl "+name+" = "+strings.TrimSpace(string(value))]++
		}
	}
	loops, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil, err
	}
	for _, loop := range loops {
		file, err := os.ReadFile(loop)
		if err == nil {
			m.things["loop device on "+strings.TrimSpace(string(file))]++
		}
	}
	for _, place := range places {
		m.addFiles(place)
	}
	return m, nil
}

func (m *Machine) addMounts(mountinfo string) error {
	text, err := os.ReadFile(mountinfo)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		left, right, found := strings.Cut(line, " - ")
		at, kind := strings.Fields(left), strings.Fields(right)
		if !found || len(at) < 5 || len(kind) < 1 {
			return fmt.Errorf("%s: not a line of proc_pid_mountinfo(5): %q", mountinfo, line)
		}
		m.things[fmt.Sprintf("mount %s (%s)", at[4], kind[0])]++
	}
	return nil
}

func (m *Machine) addCgroups(top string, own map[int]bool) error {
	return filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return nil // removed as we walk, or a file
		}
		m.things["cgroup "+path]++
		if hasForeign(path, own) {
			for up := path; len(up) > len(top); up = filepath.Dir(up) {
				m.others["cgroup "+up] = true
			}
		}
		return nil
	})
}

// hasForeign tells whether a process that isn't own is in the cgroup at path
// itself. A pid of 0 is one of another PID namespace, so not ours to know.
func hasForeign(path string, own map[int]bool) bool {
	text, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		pid, err := strconv.Atoi(strings.TrimSpace(line))
		if err == nil && pid != 0 && !own[pid] {
			return true
		}
	}
	return false
}

func (m *Machine) addFiles(place string) {
	entries, err := os.ReadDir(place)
	if err != nil {
		return // /run/netns, for one, needn't be there
	}
	for _, entry := range entries {
		// The go command's work directories: its own business, removed when it ends, and others may be building.
		if strings.HasPrefix(entry.Name(), "go-build") {
			continue
		}
		m.things["file "+filepath.Join(place, entry.Name())]++
	}
}
