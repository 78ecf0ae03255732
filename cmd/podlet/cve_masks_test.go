package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// kubeletMasked and kubeletReadOnly are what kubelets ask for (kubernetes/pkg/securitycontext), with one of the directories of every CPU.
var (
	kubeletMasked = []string{
		"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
		"/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap", "/sys/devices/system/cpu/cpu0/thermal_throttle",
	}
	kubeletReadOnly = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// TestCVE_A14: nothing can be read below a masked path, nothing written below a read-only one, from the container's program and from one executed
// in it, and no nested mount brings them back (GHSA-7ww5-4wqc-m92c). Lists come from the request, or are podlet's own.
func TestCVE_A14(t *testing.T) {
	n := hostileNode(t)
	sandbox := n.sandbox("masks")
	pod := n.run(sandbox)
	for _, c := range []struct {
		name             string
		masked, readOnly []string
		tty              bool
	}{{"default", nil, nil, false}, {"kubelet", kubeletMasked, kubeletReadOnly, true}} {
		var paths pathsSeen
		n.attackOnce(pod, sandbox, c.name, "paths", &paths, func(config *cri.ContainerConfig) {
			config.Tty = c.tty
			config.Linux = &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{MaskedPaths: c.masked, ReadonlyPaths: c.readOnly}}
		})
		paths.judge(t, c.name)
	}
	// A command is another process on another way in.
	config, dir := n.attackers("exec", "paths", nil)
	config.Command = []string{"sleep", "1000"}
	env := config.Envs
	config.Envs = nil
	id := n.startIn(pod, sandbox, n.like(sandbox, config))
	if out, code := n.exec(id, "env", env[0].Key+"="+string(env[0].Value), "/binary"); code != 0 {
		t.Fatalf("exec: %d %s", code, out)
	}
	var paths pathsSeen
	readReport(t, dir, &paths)
	paths.judge(t, "exec")
}

// TestCVE_A14WithoutDefence shows that the test would notice paths that aren't masked, and read-only ones that aren't.
func TestCVE_A14WithoutDefence(t *testing.T) {
	t.Setenv(withoutDefence, "read-only")
	n := hostileNode(t)
	sandbox := n.sandbox("masks")
	pod := n.run(sandbox)
	var paths pathsSeen
	n.attackOnce(pod, sandbox, "app", "paths", &paths, func(c *cri.ContainerConfig) {
		c.Linux = &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{MaskedPaths: []string{"/proc/none"}}}
	})
	if len(paths.Writable) == 0 || len(paths.Readable) == 0 {
		t.Errorf("nothing was masked or read-only, and the test would not notice: %+v", paths)
	}
}

// pathsSeen is what of /proc and /sys an attacker could get at.
type pathsSeen struct {
	// Readable are masked paths that show something, Writable the files below read-only paths that opened for writing.
	Readable, Writable []string
	// Tried counts the files below read-only paths, Nested what was brought back by mounts of the attacker's own.
	Tried  int
	Nested []string
}

func (p pathsSeen) judge(t *testing.T, who string) {
	t.Helper()
	if len(p.Readable)+len(p.Writable)+len(p.Nested) > 0 {
		t.Errorf("%s: readable %q, writable %q, by nested mounts %q", who, p.Readable, p.Writable, p.Nested)
	}
	if p.Tried < 100 {
		t.Errorf("%s: only %d files were tried", who, p.Tried)
	}
}

func attackPaths() any {
	var seen pathsSeen
	for _, path := range kubeletMasked {
		if shows(path) {
			seen.Readable = append(seen.Readable, path)
		}
	}
	for _, top := range append([]string{"/sys"}, kubeletReadOnly...) {
		filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || e.Type()&fs.ModeSymlink != 0 || seen.Tried > 5000 && top == "/sys" {
				return nil
			}
			seen.Tried++
			if fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err == nil {
				unix.Close(fd)
				// Masks are writable as /dev/null is.
				if !null(path) {
					seen.Writable = append(seen.Writable, path)
				}
			}
			return nil
		})
	}
	seen.Writable = seen.Writable[:min(len(seen.Writable), 20)]
	seen.nested()
	return seen
}

// nested tries to get round by mounts and unmounts of its own: as it is, and (in a child, see below) as root of a user namespace of its own.
func (p *pathsSeen) nested() {
	for _, path := range append([]string{"/proc/sys"}, kubeletMasked...) {
		if unix.Unmount(path, unix.MNT_DETACH) == nil {
			p.Nested = append(p.Nested, "umount "+path)
		}
		if unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_BIND, "") == nil {
			p.Nested = append(p.Nested, "remount "+path)
		}
	}
	if unix.Mount("proc", "/tmp", "proc", 0, "") == nil {
		p.Nested = append(p.Nested, "mount proc")
	}
	if unix.Mount("sysfs", "/tmp", "sysfs", 0, "") == nil {
		p.Nested = append(p.Nested, "mount sysfs")
	}
}

// shows says whether a masked path shows anything.
func shows(path string) bool {
	if entries, err := os.ReadDir(path); err == nil {
		return len(entries) > 0
	}
	text, err := os.ReadFile(path)
	return err == nil && len(text) > 0
}

func null(path string) bool {
	var st unix.Stat_t
	return unix.Stat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(1, 3)
}

// TestCVE_A14_Nested tries the same as root of a user namespace of the container's own, which the kernel lets it make where no seccomp profile forbids it.
func TestCVE_A14_Nested(t *testing.T) {
	n := hostileNode(t)
	sandbox := n.sandbox("nested")
	pod := n.run(sandbox)
	id := n.startIn(pod, sandbox, container("app", "sleep", "1000"))
	if out, code := n.exec(id, "unshare", "-Urm", "true"); code != 0 {
		t.Logf("the kernel or a profile refuses a nested user namespace already: %s", out)
	}
	for _, command := range []string{
		"umount /proc/sys", "umount -l /proc/keys", "mount -o remount,rw,bind /proc/sys", "mount -o remount,rw,bind /sys", "umount /sys/firmware",
		"mount -t sysfs sysfs /tmp", "mount --bind /proc /tmp && : >>/tmp/sys/kernel/core_pattern", "mount --bind /proc/keys /tmp/x && [ -s /tmp/x ]",
	} {
		if out, code := n.exec(id, "unshare", "-Urm", "sh", "-c", command); code == 0 {
			t.Errorf("%s: %s", command, out)
		}
	}
	// A new proc of a PID namespace below shows only that, and the kernel refuses it as long as something of the old one is masked.
	if out, code := n.exec(id, "unshare", "-Urmpf", "sh", "-c", "mount -t proc proc /proc && cat /proc/keys"); code == 0 || !strings.Contains(out, "denied") {
		t.Errorf("mount of a new proc: %d %s", code, out)
	}
}
