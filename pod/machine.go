package pod

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"podlet/cgroup"
	"podlet/pod/spec"
)

// InspectMachine finds out what this machine and podlet's privileges allow.
func InspectMachine(cgroups *cgroup.Hierarchy) (spec.Machine, error) {
	var m spec.Machine
	last, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return m, err
	}
	if m.LastCapability, err = strconv.Atoi(strings.TrimSpace(string(last))); err != nil {
		return m, fmt.Errorf("/proc/sys/kernel/cap_last_cap: %w", err)
	}
	if m.Capabilities, err = ownCapabilities(); err != nil {
		return m, err
	}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return m, fmt.Errorf("getrlimit RLIMIT_NOFILE: %w", err)
	}
	m.MaxOpenFiles = files.Max
	if resource, _ := spec.CapabilityBit("SYS_RESOURCE"); m.Capabilities&resource != 0 {
		m.MaxOpenFiles = ^uint64(0)
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return m, fmt.Errorf("uname: %w", err)
	}
	m.Kernel = unix.ByteSliceToString(uts.Release[:])
	m.V1Controllers = cgroups.V1Mounts()
	m.Unified = cgroups.Mode() != cgroup.V1
	if _, err := os.Stat("/sys/module/apparmor/parameters/enabled"); err == nil {
		m.AppArmor = true
	} else if !errors.Is(err, os.ErrNotExist) {
		return m, err
	}
	return m, nil
}

// ownCapabilities are those in podlet's permitted and bounding sets.
func ownCapabilities() (uint64, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	set := ^uint64(0)
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		if !slices.Contains([]string{"CapPrm", "CapBnd"}, name) {
			continue
		}
		bits, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		if err != nil {
			return 0, fmt.Errorf("%s in /proc/self/status: %w", name, err)
		}
		set &= bits
	}
	return set, nil
}

// sayLimits logs once what this machine keeps podlet from doing.
func (r *Runtime) sayLimits() {
	resource, _ := spec.CapabilityBit("SYS_RESOURCE")
	if r.machine.Capabilities&resource == 0 {
		r.log.Warn("podlet has no CAP_SYS_RESOURCE: oom_score_adj can't be lowered and hard limits can't be raised; containers get podlet's own where they ask for more",
			"hard_open_files", r.machine.MaxOpenFiles)
	}
}
