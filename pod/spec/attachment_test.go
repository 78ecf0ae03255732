package spec

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

var (
	unified = &Machine{Unified: true}
	hybrid  = &Machine{Unified: true, V1Controllers: []string{"cpu,cpuacct", "pids"}}
)

// targets are the attachments in order, the sources in front of what is not podlet's own.
func targets(list []Attachment) []string {
	var out []string
	for _, a := range list {
		if a.Source == SourceVolume {
			out = append(out, fmt.Sprintf("volume%d:%s", a.Volume, a.Target))
		} else {
			out = append(out, a.Target)
		}
	}
	return out
}

func attachments(m *Machine, volumes ...string) []Attachment {
	c := &Container{}
	for _, v := range volumes {
		c.Mounts = append(c.Mounts, Mount{Source: "/host", Target: v})
	}
	return Attachments(&Sandbox{}, c, m, make([]bool, len(volumes)))
}

func TestAttachmentsInOrder(t *testing.T) {
	etc := "/etc/hosts /etc/hostname /etc/resolv.conf"
	for _, c := range []struct {
		name    string
		m       *Machine
		volumes string
		want    string
	}{
		{"none", unified, "", "/dev /sys /dev/pts /dev/shm /dev/mqueue " + etc + " /sys/fs/cgroup"},
		{"v1", hybrid, "", "/dev /sys /dev/pts /dev/shm /dev/mqueue " + etc + " /sys/fs/cgroup /sys/fs/cgroup/cpu,cpuacct /sys/fs/cgroup/pids /sys/fs/cgroup/unified"},
		{"parents first", unified, "/a/b/c /a /a/b", "/dev /sys volume1:/a /dev/pts /dev/shm /dev/mqueue " + etc + " volume2:/a/b /sys/fs/cgroup volume0:/a/b/c"},
		{"over podlet's own", unified, "/dev/shm /etc/hosts", "/dev /sys /dev/pts /dev/mqueue /etc/hostname /etc/resolv.conf volume0:/dev/shm volume1:/etc/hosts /sys/fs/cgroup"},
		{"below podlet's own", unified, "/dev/termination-log", "/dev /sys /dev/pts /dev/shm /dev/mqueue " + etc + " volume0:/dev/termination-log /sys/fs/cgroup"},
		{"the node's devices", unified, "/dev", "/sys volume0:/dev " + etc + " /sys/fs/cgroup"},
		{"the node's cgroups", hybrid, "/sys/fs/cgroup", "/dev /sys /dev/pts /dev/shm /dev/mqueue " + etc + " volume0:/sys/fs/cgroup"},
		{"one of the node's cgroup trees", hybrid, "/sys/fs/cgroup/pids", "/dev /sys /dev/pts /dev/shm /dev/mqueue " + etc + " /sys/fs/cgroup /sys/fs/cgroup/cpu,cpuacct /sys/fs/cgroup/unified volume0:/sys/fs/cgroup/pids"},
		{"twice the same", unified, "/a /a", "/dev /sys volume0:/a volume1:/a /dev/pts /dev/shm /dev/mqueue " + etc + " /sys/fs/cgroup"},
	} {
		if got := strings.Join(targets(attachments(c.m, words(c.volumes)...)), " "); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// TestParentsComeFirst for every pair, whatever the order in which they are asked for.
func TestParentsComeFirst(t *testing.T) {
	volumes := []string{"/srv/a/b/c/d", "/srv", "/sys/fs/cgroup/pids/x", "/etc/hosts/x", "/dev/shm/y", "/srv/a", "/proc/x/y"}
	for range volumes {
		list := targets(attachments(hybrid, volumes...))
		for i, child := range list {
			for _, parent := range list[i+1:] {
				_, child, _ := strings.Cut(child, "/")
				_, parent, _ := strings.Cut(parent, "/")
				if strings.HasPrefix(child, parent+"/") {
					t.Errorf("/%s comes before /%s: %q", child, parent, list)
				}
			}
		}
		volumes = append(volumes[1:], volumes[0])
	}
}

func TestAttachmentsReadOnly(t *testing.T) {
	readOnly := func(c *Container) (targets []string) {
		for _, a := range Attachments(&Sandbox{}, c, hybrid, make([]bool, len(c.Mounts))) {
			if a.ReadOnly {
				targets = append(targets, a.Target)
			}
		}
		return targets
	}
	trees := words("/sys/fs/cgroup /sys/fs/cgroup/cpu,cpuacct /sys/fs/cgroup/pids /sys/fs/cgroup/unified")
	for _, c := range []struct {
		name string
		c    Container
		want []string
	}{
		{"plain", Container{}, slices.Concat(words("/sys"), trees)},
		{"privileged", Container{Privileged: true}, words("/sys/fs/cgroup")},
		{"read-only root", Container{ReadOnlyRoot: true}, slices.Concat(words("/sys /etc/hosts /etc/hostname /etc/resolv.conf"), trees)},
		{"volume", Container{Mounts: []Mount{{Target: "/a", ReadOnly: true}, {Target: "/b"}}}, slices.Concat(words("/sys /a"), trees)},
	} {
		if got := readOnly(&c.c); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestAttachmentsAreFiles(t *testing.T) {
	c := &Container{Mounts: []Mount{{Target: "/a"}, {Target: "/b"}}}
	for _, a := range Attachments(&Sandbox{}, c, unified, []bool{true, false}) {
		want := strings.HasPrefix(a.Target, "/etc/") || a.Target == "/a"
		if a.File != want {
			t.Errorf("%s: file %v, want %v", a.Target, a.File, want)
		}
	}
}
