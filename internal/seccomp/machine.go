package seccomp

import (
	"fmt"
	"runtime"
)

// Machine is what a filter depends on beside its profile and the capabilities.
type Machine struct {
	// Arch is the kernel's architecture in Go's words: amd64 or arm64.
	Arch string
	// Major and Minor are the kernel's version: 6 and 18 of 6.18.44.
	Major, Minor uint64
}

// ThisMachine is the machine of this binary under the kernel of that release (uname(2)).
func ThisMachine(release string) (Machine, error) {
	m := Machine{Arch: runtime.GOARCH}
	if _, err := fmt.Sscanf(release, "%d.%d", &m.Major, &m.Minor); err != nil {
		return Machine{}, fmt.Errorf("read the kernel's version from its release %q: %w", release, err)
	}
	return m, nil
}

// atLeast says whether the kernel is of that version or newer.
func (m Machine) atLeast(major, minor uint64) bool {
	return m.Major > major || m.Major == major && m.Minor >= minor
}
