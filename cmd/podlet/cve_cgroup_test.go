package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestCVE_A12: a container's cgroups are read-only to it (CVE-2023-25809), from its program and from a command.
func TestCVE_A12(t *testing.T) {
	n := hostileNode(t)
	for name, change := range map[string]func(*cri.NamespaceOption){"plain": func(*cri.NamespaceOption) {}, "userns": userNS} {
		sandbox := n.sandbox(name, sharing(change))
		pod := n.run(sandbox)
		const script = `for f in $(find /sys/fs/cgroup -type f); do echo "$f $( (: >>$f) 2>&1 )"; done; for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir $d/x 2>&1; done; rmdir /sys/fs/cgroup/* 2>&1; echo end`
		id := n.startIn(pod, sandbox, n.like(sandbox, container("app", "sleep", "1000")))
		out, _ := n.exec(id, "sh", "-c", script)
		allReadOnly(t, name+" exec", out)
		own, _ := n.output(pod, sandbox, container("own", "sh", "-c", script))
		allReadOnly(t, name, own)
	}
}

func allReadOnly(t *testing.T, who, out string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) < 20 || !slices.Contains(lines, "end") {
		t.Errorf("%s: the attack was cut short: %.1000s", who, out)
	}
	bad := slices.DeleteFunc(lines, func(line string) bool {
		return line == "end" || strings.Contains(line, "Read-only file system") || strings.Contains(line, "Device or resource busy") ||
			strings.HasPrefix(line, "mkdir") && strings.Contains(line, "Not a directory") || // below a file: what an older kernel says first
			strings.HasPrefix(who, "userns") && strings.Contains(line, "Permission denied") // files of the node's root
	})
	if len(bad) > 0 {
		t.Errorf("%s: %d attempts of another end, such as %q", who, len(bad), bad[:min(len(bad), 5)])
	}
}

// TestCVE_A13 mounts the container's own cgroups once more, as it is and from a user namespace of its own, and looks whether that gives it the node's
// release agent (CVE-2022-0492). Without a seccomp profile, as here, nobody forbids the mount itself, and the node's root as which the container
// runs may then raise the container's own limit on v1: docs/security.md says so. The pod's limit stays.
func TestCVE_A13(t *testing.T) {
	n := hostileNode(t)
	sandbox := n.sandbox("agent")
	pod := n.run(sandbox)
	// Two of the test binary need some 50 MB with the race detector.
	const limit = 256 << 20
	limited := func(c *cri.ContainerConfig) {
		c.Linux = &cri.LinuxContainerConfig{Resources: &cri.LinuxContainerResources{MemoryLimitInBytes: limit}}
	}
	var seen []cgroupMount
	a := n.attack(pod, sandbox, "app", "cgroups", nil, limited)
	n.report(a, &seen)
	if len(seen) < 5 {
		t.Errorf("the attack was cut short: %v", seen)
	}
	nested, raised := 0, false
	for _, m := range seen {
		if m.Nested && m.Mounted {
			nested++
		}
		if m.Mounted && !m.Nested || m.Agent != "" {
			t.Errorf("%+v", m)
		}
		raised = raised || m.Limit > limit
	}
	t.Logf("without a seccomp profile %d trees could be mounted in a nested user namespace; the own memory limit could be raised: %v", nested, raised)
}

// cgroupMount is what an attacker could do with a cgroup file system of his own.
type cgroupMount struct {
	Controller      string
	Nested, Mounted bool
	// Agent is the file by which the node's release agent could be set, Limit the memory limit after the attempt to raise it.
	Agent string
	Limit int64
}

func attackCgroups() any {
	if os.Getenv(asAttacker+"_NESTED") != "" {
		return tryCgroups(true)
	}
	seen := tryCgroups(false)
	inner := exec.Command("/binary")
	inner.Env = append(os.Environ(), asAttacker+"_NESTED=1")
	inner.Stderr = os.Stderr
	inner.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}, GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}},
	}
	if err := inner.Run(); err != nil {
		return append(seen, cgroupMount{Controller: "nested: " + err.Error(), Nested: true})
	}
	var more []cgroupMount
	text, err := os.ReadFile(attackerDir + "/report")
	if err == nil {
		err = json.Unmarshal(text, &more)
	}
	if err != nil {
		panic(err)
	}
	return append(seen, more...)
}

func tryCgroups(nested bool) (seen []cgroupMount) {
	text, err := os.ReadFile("/proc/cgroups")
	if err != nil {
		panic(err)
	}
	controllers := []string{""}
	for line := range strings.Lines(string(text)) {
		if name, _, _ := strings.Cut(line, "\t"); !strings.HasPrefix(name, "#") {
			controllers = append(controllers, name)
		}
	}
	for _, controller := range controllers {
		m := cgroupMount{Controller: controller, Nested: nested}
		fs, options := "cgroup", controller
		if controller == "" {
			fs, options = "cgroup2", ""
		}
		if unix.Mount(fs, "/tmp", fs, 0, options) == nil {
			m.Mounted = true
			m.try()
			unix.Unmount("/tmp", unix.MNT_DETACH)
		}
		seen = append(seen, m)
	}
	return seen
}

// try looks for what the mount gives. What it writes is what the container already may: its own limits.
func (m *cgroupMount) try() {
	filepath.WalkDir("/tmp", func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Name() == "release_agent" {
			// What stands there is written back.
			if text, err := os.ReadFile(path); err == nil && os.WriteFile(path, text, 0) == nil {
				m.Agent = path
			}
		}
		return nil
	})
	for _, name := range []string{"memory.limit_in_bytes", "memory.max"} {
		os.WriteFile("/tmp/"+name, []byte("1073741824"), 0)
		if text, err := os.ReadFile("/tmp/" + name); err == nil {
			m.Limit, _ = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		}
	}
}

// TestCVE_E14: cgroup parents lead nowhere but down (runc's exec --cgroup, crun's delegate-cgroup).
func TestCVE_E14(t *testing.T) {
	n := hostileNode(t)
	for i, parent := range []string{
		"/../x", "a/../../b", "/a/../../b", "/kubepods/x.slice/..", "/.", "/a/./b", "//", "/a//b", "/a/", "relative", "a.slice:cri:b", "/a\x00b", "/a\nb", "/a b", "/ü",
		"/" + strings.Repeat("a", 256), strings.Repeat("/a", 65), "/" + strings.Repeat("a/", 5000) + "a", "..", "/..", "/cgroup.procs/../..",
	} {
		sandbox := n.sandbox(fmt.Sprint("p", i), func(c *cri.PodSandboxConfig) { c.Linux.CgroupParent = parent })
		r, err := n.RunPodSandbox(n.ctx(), &cri.RunPodSandboxRequest{Config: sandbox})
		if code(err) != "InvalidArgument" {
			t.Errorf("cgroup parent %.60q: %v", parent, err)
			if err == nil {
				n.removePod(r.PodSandboxId)
			}
		}
	}
	// A neighbour with the same beginning is a neighbour.
	sandbox := n.sandbox("near")
	pod := n.run(sandbox)
	id := n.startIn(pod, sandbox, container("app", "sleep", "1000"))
	out, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", n.seenContainer(id).PID))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if path := strings.TrimSpace(line[strings.LastIndex(line, ":")+1:]); filepath.Dir(path) != "/"+n.cgroup && path != "/" {
			t.Errorf("the container is in %s", line)
		}
	}
}
