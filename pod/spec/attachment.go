package spec

import (
	"path"
	"slices"
	"strings"
)

// Source says where what is mounted comes from.
type Source string

// The sources. Those of the pod stand in pause's own mount namespace, volumes and all others come from podlet as detached mounts.
const (
	SourceVolume     Source = "volume"
	SourceDev        Source = "dev"
	SourceDevPTS     Source = "devpts"
	SourceSysfs      Source = "sysfs"      // the pod's
	SourceShm        Source = "shm"        // the pod's, or the host's for hostIPC
	SourceMqueue     Source = "mqueue"     // the pod's, or the host's for hostIPC
	SourceHosts      Source = "hosts"      // the pod's file
	SourceHostname   Source = "hostname"   // the pod's file
	SourceResolvConf Source = "resolv"     // the pod's file
	SourceCgroupRoot Source = "cgrouproot" // a tmpfs with a directory for each v1 tree
	SourceCgroup     Source = "cgroup"     // the container's own cgroup of one tree
)

// Attachment is one mount of a container's tree.
type Attachment struct {
	Source Source
	// Target is absolute and clean.
	Target string
	// File says that the source is a file, so the mount point must be one.
	File     bool
	ReadOnly bool
	// Volume is the index into Container.Mounts, for SourceVolume.
	Volume int
	// Tree is the v1 tree or "unified", for SourceCgroup.
	Tree string
}

// Attachments lists the mounts of a container below its root and besides /proc, in the order in which they are made: parents
// first, and what the CRI asks for over podlet's own. volumeIsFile tells of each of c.Mounts whether its source is a file.
// A default mount whose target a volume takes is left out, and with /dev and /sys/fs/cgroup what would stand below: who
// asks for the node's devices or cgroups there means all of them.
func Attachments(s *Sandbox, c *Container, m *Machine, volumeIsFile []bool) []Attachment {
	var list []Attachment
	for _, a := range defaults(c, m) {
		taken := slices.ContainsFunc(c.Mounts, func(v Mount) bool { return v.Target == a.Target || v.Target == belongsTo(a.Target) })
		if !taken {
			list = append(list, a)
		}
	}
	for i, v := range c.Mounts {
		list = append(list, Attachment{Source: SourceVolume, Target: v.Target, File: volumeIsFile[i], ReadOnly: v.ReadOnly, Volume: i})
	}
	slices.SortStableFunc(list, func(a, b Attachment) int { return depth(a.Target) - depth(b.Target) })
	return list
}

// cgroupTop is where the cgroup trees are.
const cgroupTop = "/sys/fs/cgroup"

// belongsTo is the default mount that the one at target is a part of, or "".
func belongsTo(target string) string {
	if top := path.Dir(target); top == "/dev" || top == cgroupTop {
		return top
	}
	return ""
}

func depth(target string) int { return strings.Count(target, "/") }

func defaults(c *Container, m *Machine) []Attachment {
	list := []Attachment{
		{Source: SourceDev, Target: "/dev"},
		{Source: SourceDevPTS, Target: "/dev/pts"},
		{Source: SourceShm, Target: "/dev/shm"},
		{Source: SourceMqueue, Target: "/dev/mqueue"},
		{Source: SourceSysfs, Target: "/sys", ReadOnly: !c.Privileged},
		{Source: SourceHosts, Target: "/etc/hosts", File: true, ReadOnly: c.ReadOnlyRoot},
		{Source: SourceHostname, Target: "/etc/hostname", File: true, ReadOnly: c.ReadOnlyRoot},
		{Source: SourceResolvConf, Target: "/etc/resolv.conf", File: true, ReadOnly: c.ReadOnlyRoot},
	}
	return append(list, cgroups(c, m)...)
}

// cgroups are the container's own cgroups at /sys/fs/cgroup, read-only but for privileged containers (CVE-2023-25809).
func cgroups(c *Container, m *Machine) []Attachment {
	if len(m.V1Controllers) == 0 {
		return []Attachment{{Source: SourceCgroup, Target: cgroupTop, Tree: "unified", ReadOnly: !c.Privileged}}
	}
	list := []Attachment{{Source: SourceCgroupRoot, Target: cgroupTop, ReadOnly: true}}
	for _, tree := range m.V1Controllers {
		list = append(list, Attachment{Source: SourceCgroup, Target: path.Join(cgroupTop, tree), Tree: tree, ReadOnly: !c.Privileged})
	}
	if m.Unified {
		list = append(list, Attachment{Source: SourceCgroup, Target: path.Join(cgroupTop, "unified"), Tree: "unified", ReadOnly: !c.Privileged})
	}
	return list
}
