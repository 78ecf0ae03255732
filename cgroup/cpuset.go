package cgroup

import (
	"fmt"
	"strconv"
	"strings"
)

// maxCPUList bounds a cpuset list in bytes, maxCPU its numbers (NR_CPUS is at
// most 8192).
const (
	maxCPUList = 4096
	maxCPU     = 8192
)

func cpusetSettings(h *Hierarchy, r *Resources, _ *Limits) ([]setting, error) {
	var s []setting
	for _, l := range []struct{ file, list string }{{"cpuset.cpus", r.CpusetCPUs}, {"cpuset.mems", r.CpusetMems}} {
		if l.list == "" {
			continue
		}
		if _, err := parseList(l.list); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, l.file, err)
		}
		one := setting{controller: "cpuset", file: l.file, value: l.list}
		if h.onV2("cpuset") {
			// v2 takes numbers that the machine or the parent lacks and grants the rest.
			one.effective = l.file + ".effective"
		}
		s = append(s, one)
	}
	return s, nil
}

// lacking is the error about a cpuset list, of Resources or unified, of which p
// can't have all, with what there is to have. What the machine hasn't got is the
// request's mistake; what only the parent hasn't got, it may get.
func (h *Hierarchy) lacking(p Path, s setting) error {
	if s.file != "cpuset.cpus" && s.file != "cpuset.mems" {
		return fmt.Errorf("%w: the kernel takes no such value here", ErrUnsupported)
	}
	if _, err := parseList(s.value); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	t, file := h.by[s.controller], s.file
	if t.v2 {
		file += ".effective"
	}
	if machine, err := t.root.read(file); err == nil && !subset(s.value, machine) {
		return fmt.Errorf("%w: this machine offers only %q", ErrInvalid, machine)
	}
	if parent, err := t.root.read(t.prefix(p.Parent()) + file); err == nil && !subset(s.value, parent) {
		return fmt.Errorf("%w: the parent cgroup has only %q", ErrUnsupported, parent)
	}
	return fmt.Errorf("%w: not all of it can be had", ErrUnsupported)
}

// inheritCpuset gives the v1 cpuset p its parent's CPUs and memory nodes: a new
// one has none and takes no process. A parent that has none itself, because
// whoever makes it has not come so far or died on the way, is filled first; as
// no process can be in it, that takes nothing from anybody.
func (t *tree) inheritCpuset(p Path) error {
	above := t.prefix(p.Parent())
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		list, err := t.root.read(above + file)
		if err == nil && list == "" && p.depth() > 1 {
			if err := t.inheritCpuset(p.Parent()); err != nil {
				return err
			}
			list, err = t.root.read(above + file)
		}
		if err != nil {
			return fmt.Errorf("read %s of cgroup %s: %w", file, p.Parent(), err)
		}
		if err := t.root.write(t.prefix(p)+file, list); err != nil {
			return fmt.Errorf("write the parent's %s %q to cgroup %s: %w", file, list, p, err)
		}
	}
	return nil
}

// parseList reads the list form of cpuset(7), "0-3,7", into a set.
func parseList(list string) (map[int]bool, error) {
	list = strings.TrimSuffix(list, "\n")
	if len(list) > maxCPUList {
		return nil, fmt.Errorf("list %.32q… has %d bytes, at most %d are allowed", list, len(list), maxCPUList)
	}
	set := map[int]bool{}
	if list == "" {
		return set, nil
	}
	for part := range strings.SplitSeq(list, ",") {
		low, high, ranged := strings.Cut(part, "-")
		if !ranged {
			high = low
		}
		a, errA := strconv.ParseUint(low, 10, 16)
		b, errB := strconv.ParseUint(high, 10, 16)
		if errA != nil || errB != nil || a > b || b >= maxCPU {
			return nil, fmt.Errorf("list %.64q: %.32q is neither a number nor a range below %d", list, part, maxCPU)
		}
		for n := a; n <= b; n++ {
			set[int(n)] = true
		}
	}
	return set, nil
}

// subset says whether every number of list a is in list b.
func subset(a, b string) bool {
	in, err := parseList(a)
	if err != nil {
		return false
	}
	of, err := parseList(b)
	if err != nil {
		return false
	}
	for n := range in {
		if !of[n] {
			return false
		}
	}
	return true
}
