package main

import (
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestDevices: a container has the usual devices and those of its config, and can use no other, even where it makes a node for it.
func TestDevices(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	out := p.output(container("plain", "sh", "-c", `
		for d in null zero full random urandom tty; do stat -c '%n %F %t:%T %a' /dev/$d; done
		head -c 3 /dev/zero | wc -c; (echo x > /dev/full) 2>&1; for l in fd stdin stdout stderr ptmx core; do readlink /dev/$l; done
		ls /dev | grep -E '^(kvm|fuse|mem|kmsg|sda|vda|loop)' | wc -l
		mknod /tmp/mem c 1 1; (head -c 1 /tmp/mem) 2>&1; mknod /tmp/null c 1 3; echo x > /tmp/null && echo null ok`))
	want := `/dev/null character special file 1:3 666
/dev/zero character special file 1:5 666
/dev/full character special file 1:7 666
/dev/random character special file 1:8 666
/dev/urandom character special file 1:9 666
/dev/tty character special file 5:0 666
3
sh: write error: No space left on device
/proc/self/fd
/proc/self/fd/0
/proc/self/fd/1
/proc/self/fd/2
pts/ptmx
/proc/kcore
0
head: /tmp/mem: Operation not permitted
null ok
`
	if out != want {
		t.Errorf("devices of a container:\n%s\nwant:\n%s", out, want)
	}
	// One with leave to read, one without.
	config := container("given", "sh", "-c", "(head -c 1 /dev/given) 2>&1; head -c 5 /dev/deep/down | wc -c; stat -c %t:%T /dev/given")
	config.Devices = []*cri.Device{
		{HostPath: "/dev/kmsg", ContainerPath: "/dev/given", Permissions: "m"},
		{HostPath: "/dev/zero", ContainerPath: "/dev/deep/down", Permissions: "rw"},
	}
	if out := p.output(config); out != "head: /dev/given: Operation not permitted\n5\n1:b\n" {
		t.Errorf("devices that were given: %q", out)
	}
	// A directory of devices is all of them.
	config = container("directory", "ls", "/dev/all")
	config.Devices = []*cri.Device{{HostPath: "/dev/pts", ContainerPath: "/dev/all"}}
	if out := p.output(config); !contains(out, "ptmx") {
		t.Errorf("a directory of devices: %q", out)
	}
}

// TestPrivileged: all of the node's devices, nothing masked, everything writable.
func TestPrivileged(t *testing.T) {
	n := commonNode(t)
	p := n.newPod(linux(func(l *cri.LinuxPodSandboxConfig) { l.SecurityContext.Privileged = true }))
	config := container("app", "sh", "-c", `
		mknod /tmp/mem c 1 1; (head -c 0 /tmp/mem) 2>&1 | grep permitted; stat -c %t:%T /dev/kmsg; wc -c < /proc/interrupts | grep -qv '^0$' && echo unmasked
		cat /proc/sys/vm/swappiness > /proc/sys/vm/swappiness && echo sysctl; mkdir -p /mnt && mount -t tmpfs t /mnt && echo mounted
		grep -cE ' /sys(/fs/cgroup/[^ ]*)? (sysfs|cgroup|cgroup2) ro' /proc/self/mounts; true`)
	security(func(s *cri.LinuxContainerSecurityContext) { s.Privileged = true })(config)
	out := strings.TrimSpace(p.output(config))
	lines := strings.Split(out, "\n")
	if lines[0] != "1:b" || !contains(out, "unmasked\nsysctl\n") || !contains(out, "mounted\n0") {
		t.Errorf("a privileged container:\n%s", out)
	}
}
