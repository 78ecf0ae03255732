package cgroup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// deviceV1 is a device, or any ("*"), as the v1 controller names it.
type deviceV1 struct {
	kind    byte // 'b' or 'c'
	numbers string
}

// devicesV1 is a state of the v1 controller: all devices, or what it lists.
type devicesV1 struct {
	all    bool
	listed map[deviceV1]int32 // access bits
}

// setDevicesV1 puts rules in force with the v1 devices controller, by writing
// only what differs: what is allowed first, what is denied last, so that no
// device blocks for even a moment. The controller can't say everything that
// rules can; what it can't is refused.
func (g *Group) setDevicesV1(rules []DeviceRule) error {
	want, err := stateV1(rules)
	if err != nil {
		return err
	}
	root, rel := g.h.by["devices"].root, g.path.rel
	list, err := root.read(rel + "/devices.list")
	if err != nil {
		return fmt.Errorf("read devices.list: %w", err)
	}
	have, err := readStateV1(list)
	if err != nil {
		return err
	}
	if have.all && want.all {
		return nil
	}
	if have.all {
		// From "all" there is no way but by "none". That is so in a new group, where
		// nobody is yet.
		pids, err := g.Procs(context.Background())
		if err != nil {
			return err
		}
		if len(pids) > 0 {
			return fmt.Errorf("%w: cgroup v1 can't take devices from a running container that may use all", ErrUnsupported)
		}
		if err := root.write(rel+"/devices.deny", "a"); err != nil {
			return fmt.Errorf("write a to devices.deny: %w", err)
		}
	}
	if want.all {
		if err := root.write(rel+"/devices.allow", "a"); err != nil {
			return fmt.Errorf("write a to devices.allow: %w", err)
		}
		return nil
	}
	return writeV1(root, rel, have.listed, want.listed)
}

// writeV1 takes the controller from one list to the other, and back on failure.
func writeV1(root dir, rel string, have, want map[deviceV1]int32) error {
	type change struct{ file, back, rule string }
	var changes []change
	for _, d := range sortedDevices(want) {
		if bits := want[d] &^ have[d]; bits != 0 {
			changes = append(changes, change{"devices.allow", "devices.deny", d.rule(bits)})
		}
	}
	for _, d := range sortedDevices(have) {
		if bits := have[d] &^ want[d]; bits != 0 {
			changes = append(changes, change{"devices.deny", "devices.allow", d.rule(bits)})
		}
	}
	for i, c := range changes {
		err := root.write(rel+"/"+c.file, c.rule)
		if err == nil {
			continue
		}
		err = fmt.Errorf("write %q to %s: %w", c.rule, c.file, err)
		for _, done := range slices.Backward(changes[:i]) {
			err = errors.Join(err, root.write(rel+"/"+done.back, done.rule))
		}
		return err
	}
	return nil
}

// stateV1 is what rules come to after "deny all".
func stateV1(rules []DeviceRule) (devicesV1, error) {
	s := devicesV1{listed: map[deviceV1]int32{}}
	for _, r := range rules {
		if r.everything() {
			s = devicesV1{all: r.Allow, listed: map[deviceV1]int32{}}
			continue
		}
		if s.all && r.Allow {
			continue
		}
		for _, kind := range "bc" {
			if r.Type != 'a' && r.Type != byte(kind) {
				continue
			}
			d := deviceV1{byte(kind), strings.Fields(r.String())[2]}
			if r.Allow {
				s.listed[d] |= r.access()
				continue
			}
			if s.all || s.overlaps(d, r) {
				return s, fmt.Errorf("device rule %q: %w: cgroup v1 can't except a device from a wider rule", r, ErrUnsupported)
			}
			if s.listed[d] &^= r.access(); s.listed[d] == 0 {
				delete(s.listed, d)
			}
		}
	}
	return s, nil
}

// overlaps says whether a rule other than that for d itself covers part of r.
func (s devicesV1) overlaps(d deviceV1, r DeviceRule) bool {
	major, minor, _ := strings.Cut(d.numbers, ":")
	for other, bits := range s.listed {
		otherMajor, otherMinor, _ := strings.Cut(other.numbers, ":")
		meets := (major == "*" || otherMajor == "*" || major == otherMajor) && (minor == "*" || otherMinor == "*" || minor == otherMinor)
		if other != d && other.kind == d.kind && meets && bits&r.access() != 0 {
			return true
		}
	}
	return false
}

// readStateV1 reads devices.list.
func readStateV1(list string) (devicesV1, error) {
	s := devicesV1{listed: map[deviceV1]int32{}}
	for line := range strings.SplitSeq(list, "\n") {
		if line == "" {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) != 3 || len(fields[0]) != 1 {
			return s, fmt.Errorf("read devices.list: line %q is not TYPE MAJOR:MINOR ACCESS", line)
		}
		if fields[0] == "a" {
			return devicesV1{all: true}, nil
		}
		s.listed[deviceV1{fields[0][0], fields[1]}] |= DeviceRule{Access: fields[2]}.access()
	}
	return s, nil
}

func (d deviceV1) rule(bits int32) string {
	access := ""
	for i, c := range "mrw" {
		if bits&(1<<i) != 0 {
			access += string(c)
		}
	}
	return fmt.Sprintf("%c %s %s", d.kind, d.numbers, access)
}

func sortedDevices(m map[deviceV1]int32) []deviceV1 {
	return slices.SortedFunc(maps.Keys(m), func(a, b deviceV1) int {
		return strings.Compare(a.rule(0), b.rule(0))
	})
}
