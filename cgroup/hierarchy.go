package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Mode is a machine's cgroup layout.
type Mode int

// The layouts; the package documentation describes them.
const (
	V1 Mode = iota + 1
	V2
	Hybrid
)

func (m Mode) String() string {
	switch m {
	case V1:
		return "v1"
	case V2:
		return "v2"
	case Hybrid:
		return "hybrid"
	}
	return fmt.Sprintf("Mode(%d)", int(m))
}

// v1Joined are the v1 controllers whose trees a container always joins. The
// other two, devices and freezer, see Open.
var v1Joined = []string{"cpu", "cpuacct", "cpuset", "memory", "blkio", "pids", "hugetlb"}

// v2Managed are the v2 controllers that are enabled for containers. The device
// controller is no controller there but a program.
var v2Managed = []string{"cpu", "cpuset", "io", "memory", "pids", "hugetlb"}

// Hierarchy is the machine's cgroup layout, opened once. It is safe for
// concurrent use. Close it when no Group made from it is in use any more.
type Hierarchy struct {
	mode      Mode
	trees     []*tree
	v2        *tree            // nil on V1
	by        map[string]*tree // controller name to tree; v2's are there where no v1 tree has it
	pageSizes []string         // huge page sizes as in "2MB"
	programs  programCache
	budget    openBudget // of Meters
	noProgram error      // why no device program can be loaded; nil where it can
}

// tree is one mounted hierarchy.
type tree struct {
	name        string // "v2", or the v1 controllers joined by commas
	controllers []string
	v2          bool
	root        dir // owned; O_PATH
}

// Open finds the cgroup trees mounted at and below mountpoint, normally
// /sys/fs/cgroup, and opens them. Whether a device program can be loaded is
// found by loading one; where it can't (and on V1) the v1 devices controller
// is used in its place.
func Open(mountpoint string) (*Hierarchy, error) {
	mounts, err := cgroupMounts(mountpoint)
	if err != nil {
		return nil, fmt.Errorf("find cgroup mounts below %s: %w", mountpoint, err)
	}
	h := &Hierarchy{by: map[string]*tree{}, budget: newOpenBudget(), noProgram: errors.New("there is no cgroup2 mount to attach a device program to")}
	if err := h.open(mountpoint, mounts); err != nil {
		h.Close()
		return nil, fmt.Errorf("open the cgroup hierarchies at %s: %w", mountpoint, err)
	}
	return h, nil
}

func (h *Hierarchy) open(mountpoint string, mounts []cgroupMount) error {
	for _, m := range mounts {
		if m.v2 && h.v2 == nil {
			if err := h.openV2(m.point); err != nil {
				return err
			}
		}
	}
	joined := v1Joined
	if h.noProgram != nil {
		joined = append(slices.Clone(joined), "devices")
	}
	if h.v2 == nil {
		joined = append(slices.Clone(joined), "freezer")
	}
	for _, m := range mounts {
		if m.v2 || !slices.ContainsFunc(m.controllers, func(c string) bool { return slices.Contains(joined, c) }) {
			continue
		}
		if h.by[m.controllers[0]] != nil {
			continue // the same tree is mounted twice
		}
		root, err := openDir(m.point)
		if err != nil {
			return err
		}
		h.add(&tree{name: strings.Join(m.controllers, ","), controllers: m.controllers, root: root})
	}
	switch {
	case len(h.trees) == 0:
		return fmt.Errorf("no cgroup or cgroup2 file system is mounted there: mount -t cgroup2 none %s", mountpoint)
	case h.v2 == nil:
		h.mode = V1
	case len(h.trees) == 1:
		h.mode = V2
	default:
		h.mode = Hybrid
	}
	// A v1 tree has its controllers to itself, so the v2 tree's list holds only what is left.
	if h.v2 != nil {
		available, err := h.v2.root.read("cgroup.controllers")
		if err != nil {
			return err
		}
		for _, c := range strings.Fields(available) {
			if slices.Contains(v2Managed, c) {
				h.v2.controllers = append(h.v2.controllers, c)
				h.by[c] = h.v2
			}
		}
	}
	var err error
	h.pageSizes, err = hugePageSizes()
	return err
}

func (h *Hierarchy) openV2(point string) error {
	root, err := openDir(point)
	if err != nil {
		return err
	}
	h.v2 = &tree{name: "v2", v2: true, root: root}
	h.trees = append(h.trees, h.v2)
	_, err = h.programs.get([]DeviceRule{{Allow: true, Type: 'a', Major: -1, Minor: -1, Access: "rwm"}})
	// A shortage of the moment says nothing of the kernel, and must not cost the
	// machine its device programs till podlet starts again.
	for _, shortage := range []unix.Errno{unix.ENOMEM, unix.EMFILE, unix.ENFILE, unix.EAGAIN} {
		if errors.Is(err, shortage) {
			return err
		}
	}
	h.noProgram = err
	return nil
}

func (h *Hierarchy) add(t *tree) {
	h.trees = append(h.trees, t)
	for _, c := range t.controllers {
		h.by[c] = t
	}
}

// Mode is the layout found by Open.
func (h *Hierarchy) Mode() Mode { return h.mode }

// Controllers lists, sorted, what can be limited here, by the names of the
// kernel; "devices" is among them where device rules can be enforced, by
// program or by the v1 controller.
func (h *Hierarchy) Controllers() []string {
	var names []string
	for c := range h.by {
		names = append(names, c)
	}
	if h.noProgram == nil && h.by["devices"] == nil {
		names = append(names, "devices")
	}
	slices.Sort(names)
	return names
}

// V1Mounts lists the v1 trees in which containers have cgroups of their own,
// each as the list of controllers with which mount(2) names it ("cpu,cpuacct").
func (h *Hierarchy) V1Mounts() []string {
	var names []string
	for _, t := range h.trees {
		if !t.v2 {
			names = append(names, t.name)
		}
	}
	return names
}

// Close closes the trees and the cached device programs. Groups stay limited.
func (h *Hierarchy) Close() {
	for _, t := range h.trees {
		t.root.close()
	}
	h.trees = nil
	h.programs.close()
}

func (h *Hierarchy) tree(name string) *tree {
	for _, t := range h.trees {
		if t.name == name {
			return t
		}
	}
	return nil
}

// signal is the tree that says which processes a group holds: the v2 one, else
// the freezer's, in which Kill works.
func (h *Hierarchy) signal() *tree {
	if h.v2 != nil {
		return h.v2
	}
	if t := h.by["freezer"]; t != nil {
		return t
	}
	return h.trees[0]
}

// hugePageSizes lists the machine's huge page sizes in the spelling of the
// hugetlb controller's files: 2048kB is "2MB".
func hugePageSizes() ([]string, error) {
	names, err := filepath.Glob("/sys/kernel/mm/hugepages/hugepages-*kB")
	if err != nil {
		return nil, err
	}
	var sizes []string
	for _, name := range names {
		var kb uint64
		if _, err := fmt.Sscanf(filepath.Base(name), "hugepages-%dkB", &kb); err != nil {
			return nil, fmt.Errorf("read huge page size %s: %w", name, err)
		}
		switch {
		case kb >= 1<<20:
			sizes = append(sizes, fmt.Sprintf("%dGB", kb>>20))
		case kb >= 1<<10:
			sizes = append(sizes, fmt.Sprintf("%dMB", kb>>10))
		default:
			sizes = append(sizes, fmt.Sprintf("%dKB", kb))
		}
	}
	return sizes, nil
}

func openDir(path string) (dir, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return dir(fd), nil
}
