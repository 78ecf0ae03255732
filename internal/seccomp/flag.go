package seccomp

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// defaultFlags: kernels before 5.16 slow every process with a filter down against Speculative Store Bypass unless they are told not
// to; later ones don't. With the flag a container runs alike on all. Other runtimes set it too.
const defaultFlags = unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW

// flags gives the bits for seccomp(2). A profile that lists none gets the default ones.
func flags(names []specs.LinuxSeccompFlag) (uint64, error) {
	if names == nil {
		return defaultFlags, nil
	}
	var out uint64
	for _, name := range names {
		switch name {
		case specs.LinuxSeccompFlagLog:
			out |= unix.SECCOMP_FILTER_FLAG_LOG
		case specs.LinuxSeccompFlagSpecAllow:
			out |= unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
		case "SECCOMP_FILTER_FLAG_TSYNC":
			// The process that puts the filter in force has one thread: there is none to bring into line.
		case specs.LinuxSeccompFlagWaitKillableRecv:
			return 0, fmt.Errorf("seccomp profile: flag %s is not supported: it is for filters that notify", name)
		default:
			return 0, fmt.Errorf("seccomp profile: flag %q is unknown", name)
		}
	}
	return out, nil
}
