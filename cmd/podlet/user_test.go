package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestUsers: who a container runs as, by every way to say it; ContainerStatus says the same.
func TestUsers(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	id := func(v int64) *cri.Int64Value { return &cri.Int64Value{Value: v} }
	const merge, strict = cri.SupplementalGroupsPolicy_Merge, cri.SupplementalGroupsPolicy_Strict
	for _, c := range []struct {
		name     string
		change   func(*cri.LinuxContainerSecurityContext)
		uid, gid int
		groups   []int
	}{
		{"root", func(s *cri.LinuxContainerSecurityContext) {}, 0, 0, []int{0}},
		{"id", func(s *cri.LinuxContainerSecurityContext) { s.RunAsUser = id(1000) }, 1000, 1000, []int{1000, 2000, 3000}},
		{"unknown-id", func(s *cri.LinuxContainerSecurityContext) { s.RunAsUser = id(7777) }, 7777, 0, []int{0}},
		{"name", func(s *cri.LinuxContainerSecurityContext) { s.RunAsUsername = "www-data" }, 33, 33, []int{33, 3000}},
		{"id-and-group", func(s *cri.LinuxContainerSecurityContext) { s.RunAsUser, s.RunAsGroup = id(1001), id(4321) }, 1001, 4321, []int{3000, 4321}},
		{"name-and-group", func(s *cri.LinuxContainerSecurityContext) { s.RunAsUsername, s.RunAsGroup = "other", id(5) }, 1001, 5, []int{5, 3000}},
		{"more-groups", func(s *cri.LinuxContainerSecurityContext) {
			s.RunAsUser, s.SupplementalGroups, s.SupplementalGroupsPolicy = id(1000), []int64{50000, 2000}, merge
		}, 1000, 1000, []int{1000, 2000, 3000, 50000}},
		{"strict", func(s *cri.LinuxContainerSecurityContext) {
			s.RunAsUser, s.SupplementalGroups, s.SupplementalGroupsPolicy = id(1000), []int64{50000}, strict
		}, 1000, 1000, []int{1000, 50000}},
		{"largest", func(s *cri.LinuxContainerSecurityContext) { s.RunAsUser, s.RunAsGroup = id(1<<31-1), id(1<<31-1) }, 1<<31 - 1, 1<<31 - 1, []int{1<<31 - 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := container(c.name)
			config.Image.Image = tools
			security(c.change)(config)
			created := p.start(config)
			n.exited(created)
			f := n.found(n.logged(created))
			slices.Sort(f.Groups)
			if f.UID != c.uid || f.EUID != c.uid || f.GID != c.gid || f.EGID != c.gid || !slices.Equal(f.Groups, c.groups) {
				t.Errorf("runs as %d:%d, groups %v, want %d:%d, %v", f.UID, f.GID, f.Groups, c.uid, c.gid, c.groups)
			}
			u := n.status(created).User.GetLinux()
			var groups []int
			for _, g := range u.GetSupplementalGroups() {
				groups = append(groups, int(g))
			}
			slices.Sort(groups)
			if int(u.GetUid()) != c.uid || int(u.GetGid()) != c.gid || !slices.Equal(groups, c.groups) {
				t.Errorf("status says %v, want %d:%d, %v", u, c.uid, c.gid, c.groups)
			}
		})
	}
}

// Capability sets, as /proc/self/status has them.
const (
	capDefault = 0x00000000a80425fb
	capChown   = 1 << 0
	capNetAdm  = 1 << 12
	capNetBind = 1 << 10
)

// TestCapabilities compares every set of the process with what the config asks for.
func TestCapabilities(t *testing.T) {
	n := commonNode(t)
	plain, privileged := n.newPod(), n.newPod(linux(func(l *cri.LinuxPodSandboxConfig) { l.SecurityContext.Privileged = true }))
	own := word(t, ownStatus(t)["CapBnd"]) // podlet can give no more than it has
	for _, c := range []struct {
		name                        string
		pod                         *testPod
		uid                         int64
		change                      func(*cri.LinuxContainerSecurityContext)
		bounding, permitted, raised uint64
	}{
		{"default", plain, 0, func(s *cri.LinuxContainerSecurityContext) {}, capDefault, capDefault, 0},
		{"default-user", plain, 1000, func(s *cri.LinuxContainerSecurityContext) {}, capDefault, 0, 0},
		{"add", plain, 0, func(s *cri.LinuxContainerSecurityContext) {
			s.Capabilities = &cri.Capability{AddCapabilities: []string{"net_admin"}}
		}, capDefault | capNetAdm, capDefault | capNetAdm, 0},
		{"drop", plain, 0, func(s *cri.LinuxContainerSecurityContext) {
			s.Capabilities = &cri.Capability{DropCapabilities: []string{"CAP_CHOWN"}}
		}, capDefault &^ capChown, capDefault &^ capChown, 0},
		{"none", plain, 0, func(s *cri.LinuxContainerSecurityContext) {
			s.Capabilities = &cri.Capability{DropCapabilities: []string{"ALL"}}
		}, 0, 0, 0},
		{"one", plain, 0, func(s *cri.LinuxContainerSecurityContext) {
			s.Capabilities = &cri.Capability{DropCapabilities: []string{"all"}, AddCapabilities: []string{"CHOWN"}}
		}, capChown, capChown, 0},
		{"all", plain, 0, func(s *cri.LinuxContainerSecurityContext) {
			s.Capabilities = &cri.Capability{AddCapabilities: []string{"ALL"}}
		}, own, own, 0},
		{"all-but-one", plain, 0, func(s *cri.LinuxContainerSecurityContext) {
			s.Capabilities = &cri.Capability{AddCapabilities: []string{"ALL"}, DropCapabilities: []string{"CHOWN"}}
		}, own &^ capChown, own &^ capChown, 0},
		{"ambient", plain, 1000, func(s *cri.LinuxContainerSecurityContext) {
			s.Capabilities = &cri.Capability{AddAmbientCapabilities: []string{"NET_BIND_SERVICE"}}
		}, capDefault, capNetBind, capNetBind},
		{"privileged", privileged, 0, func(s *cri.LinuxContainerSecurityContext) { s.Privileged = true }, own, own, 0},
		{"privileged-user", privileged, 1000, func(s *cri.LinuxContainerSecurityContext) { s.Privileged = true }, own, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := c.pod.look(c.name, security(func(s *cri.LinuxContainerSecurityContext) {
				s.RunAsUser = &cri.Int64Value{Value: c.uid}
				c.change(s)
			}))
			for set, want := range map[string]uint64{"CapBnd": c.bounding, "CapPrm": c.permitted, "CapEff": c.permitted, "CapInh": c.raised, "CapAmb": c.raised} {
				if got := word(t, f.Status[set]); got != want {
					t.Errorf("%s %#x, want %#x", set, got, want)
				}
			}
		})
	}
}

// ownStatus is what the kernel says of this process, whose capabilities podlet has inherited.
func ownStatus(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	status := map[string]string{}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		status[key] = strings.TrimSpace(value)
	}
	return status
}

func word(t *testing.T, text string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(text, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestNoNewPrivs: a set-user-ID program gives rights only where the config doesn't forbid it.
func TestNoNewPrivs(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	dir := t.TempDir()
	config := container("source", "sleep", "1000")
	config.Image.Image = tools
	probe, err := os.ReadFile(fmt.Sprintf("/proc/%d/root/bin/probe", n.seenContainer(p.start(config)).PID))
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "probe")
	if err := errors.Join(os.WriteFile(program, probe, 0o755), os.Chmod(program, 0o755|os.ModeSetuid), os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, forbidden := range []bool{false, true} {
		config := container(fmt.Sprintf("forbidden-%v", forbidden), "/suid/probe", "show")
		security(func(s *cri.LinuxContainerSecurityContext) {
			s.RunAsUser, s.NoNewPrivs = &cri.Int64Value{Value: 1000}, forbidden
		})(config)
		mounting(&cri.Mount{HostPath: dir, ContainerPath: "/suid"})(config)
		f := n.found(p.output(config))
		if want := map[bool]int{false: 0, true: 1000}[forbidden]; f.EUID != want || f.UID != 1000 {
			t.Errorf("no_new_privs %v: runs as %d, with the rights of %d, want %d", forbidden, f.UID, f.EUID, want)
		}
	}
}
