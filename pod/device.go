package pod

import (
	"fmt"

	"golang.org/x/sys/unix"

	"podlet/cgroup"
	"podlet/internal/mount"
	"podlet/pod/spec"
)

// deviceRules say which devices the container may use; nil, all of them, for a privileged one.
func (c *Container) deviceRules() ([]cgroup.DeviceRule, error) {
	if c.spec.Privileged {
		return nil, nil
	}
	rules := spec.DefaultDevices()
	for _, d := range c.spec.Devices {
		nodes, err := mount.HostDevices(d.HostPath, d.ContainerPath)
		if err != nil {
			return nil, fmt.Errorf("device %s: %w", d.HostPath, err)
		}
		for _, n := range nodes {
			rules = append(rules, cgroup.DeviceRule{
				Allow: true, Type: deviceType(n.Mode), Major: int64(unix.Major(n.Rdev)), Minor: int64(unix.Minor(n.Rdev)), Access: d.Access,
			})
		}
	}
	return rules, nil
}

func deviceType(mode uint32) byte {
	if mode&unix.S_IFMT == unix.S_IFBLK {
		return 'b'
	}
	return 'c'
}
