package spec

import "podlet/cgroup"

// anyNumber is a major or minor number of a rule that stands for all.
const anyNumber = -1

// DefaultDevices are the rules for what every container has in /dev, and for making device nodes: what a node may be used for is
// decided when it is opened (the OCI runtime specification's default devices).
func DefaultDevices() []cgroup.DeviceRule {
	rules := []cgroup.DeviceRule{
		{Allow: true, Type: 'c', Major: anyNumber, Minor: anyNumber, Access: "m"},
		{Allow: true, Type: 'b', Major: anyNumber, Minor: anyNumber, Access: "m"},
	}
	for _, n := range [][2]int64{
		{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, // null, zero, full, random, urandom
		{5, 0}, {5, 1}, {5, 2}, // tty, console, ptmx
		{136, anyNumber}, // pts
	} {
		rules = append(rules, cgroup.DeviceRule{Allow: true, Type: 'c', Major: n[0], Minor: n[1], Access: "rwm"})
	}
	return rules
}
