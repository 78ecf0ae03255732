package seccomp

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	moby "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// withheld are calls that the default profile's data allows and podlet does not. The arguments of socketcall(2) stand behind a pointer,
// where no filter can look: an i386 program would get with it the sockets that the profile withholds (AF_ALG: CVE-2026-31431). A libc of
// the last ten years makes the direct calls.
var withheld = []string{"socketcall"}

// data is the profile as its library has it. It is shared: what is taken from it is copied before it is changed.
var data = sync.OnceValue(moby.DefaultProfile)

// Default is the filter of the profile RuntimeDefault for a process with the capabilities caps in its bounding set, a bit each
// (capabilities(7)): the profile allows more calls to one that has more. It is made once and shared; see [Filter].
func Default(caps uint64, m Machine) (*Filter, error) {
	relevant, err := relevantCapabilities()
	if err != nil {
		return nil, err
	}
	return defaults.get(cached{m, caps & relevant})
}

// defaultProfile resolves the default profile's data.
func defaultProfile(caps uint64, m Machine) (*specs.LinuxSeccomp, error) {
	all := data()
	p := all.LinuxSeccomp
	for _, a := range all.ArchMap {
		if of := machines[m.Arch]; len(of) > 0 && a.Arch == of[0].name {
			p.Architectures = slices.Clone(a.SubArches)
		}
	}
	for _, s := range all.Syscalls {
		included, err := facts(s.Includes, caps, m)
		if err != nil {
			return nil, err
		}
		excluded, err := facts(s.Excludes, caps, m)
		if err != nil {
			return nil, err
		}
		if slices.Contains(included, false) || slices.Contains(excluded, true) {
			continue
		}
		out := s.LinuxSyscall
		out.Names = slices.Clone(out.Names)
		out.Names = slices.DeleteFunc(out.Names, func(n string) bool { return slices.Contains(withheld, n) })
		if len(out.Names) > 0 {
			p.Syscalls = append(p.Syscalls, out)
		}
	}
	return &p, nil
}

// facts says of each thing that a rule's filter names whether it is so: the architecture is one of those listed, the process has the
// capability (one answer each), the kernel is new enough. A rule is included where all are so, excluded where any is.
func facts(f *moby.Filter, caps uint64, m Machine) ([]bool, error) {
	if f == nil {
		return nil, nil
	}
	var out []bool
	if len(f.Arches) > 0 {
		out = append(out, slices.Contains(f.Arches, m.Arch))
	}
	for _, name := range f.Caps {
		bit, err := capability(name)
		if err != nil {
			return nil, err
		}
		out = append(out, caps&bit != 0)
	}
	if v := f.MinKernel; v != nil {
		out = append(out, m.atLeast(v.Kernel, v.Major))
	}
	return out, nil
}

// relevantCapabilities are those that the profile's data asks for: others make no other filter.
var relevantCapabilities = sync.OnceValues(func() (uint64, error) {
	var all uint64
	for _, s := range data().Syscalls {
		for _, f := range []*moby.Filter{s.Includes, s.Excludes} {
			if f == nil {
				continue
			}
			for _, name := range f.Caps {
				bit, err := capability(name)
				if err != nil {
					return 0, err
				}
				all |= bit
			}
		}
	}
	return all, nil
})

// capabilities are the kernel's names, the index being the number (capabilities(7)).
var capabilities = strings.Fields(`CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
	NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT
	SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
	MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`)

// capability gives the bit of a name with CAP_.
func capability(name string) (uint64, error) {
	short, ok := strings.CutPrefix(name, "CAP_")
	i := slices.Index(capabilities, short)
	if !ok || i < 0 {
		return 0, fmt.Errorf("default seccomp profile: capability %q is unknown", name)
	}
	return 1 << i, nil
}
