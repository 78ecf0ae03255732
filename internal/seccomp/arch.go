package seccomp

import (
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// x32Bit marks the numbers of the x32 ABI, which the kernel reports under x86_64's name (seccomp(2), Caveats).
const x32Bit = 0x40000000

// arch is one way of making system calls.
type arch struct {
	name   specs.Arch
	audit  uint32 // AUDIT_ARCH_*: what seccomp_data calls it
	bit    uint32 // set in each of its numbers
	column int
	// From ownFirst to ownLast stand calls outside the sequence that all architectures continue; 0 for none.
	ownFirst, ownLast uint32
}

// own says that a number stands outside the sequence.
func (x arch) own(number uint32) bool {
	return x.ownLast != 0 && number >= x.ownFirst && number <= x.ownLast
}

// machines are the architectures that a machine's kernel runs, by GOARCH, its own first.
var machines = map[string][]arch{
	"amd64": {
		{name: specs.ArchX86_64, audit: unix.AUDIT_ARCH_X86_64, column: columnX86_64},
		{name: specs.ArchX86, audit: unix.AUDIT_ARCH_I386, column: columnX86},
		{name: specs.ArchX32, audit: unix.AUDIT_ARCH_X86_64, bit: x32Bit, column: columnX32, ownFirst: 512, ownLast: 547},
	},
	"arm64": {
		{name: specs.ArchAARCH64, audit: unix.AUDIT_ARCH_AARCH64, column: columnAARCH64},
		{name: specs.ArchARM, audit: unix.AUDIT_ARCH_ARM, column: columnARM, ownFirst: 0xf0000, ownLast: 0xfffff},
	},
}

// known are all names that a profile may hold; those of other machines change nothing on this one.
var known = []specs.Arch{
	specs.ArchX86, specs.ArchX86_64, specs.ArchX32, specs.ArchARM, specs.ArchAARCH64, specs.ArchMIPS, specs.ArchMIPS64,
	specs.ArchMIPS64N32, specs.ArchMIPSEL, specs.ArchMIPSEL64, specs.ArchMIPSEL64N32, specs.ArchPPC, specs.ArchPPC64,
	specs.ArchPPC64LE, specs.ArchS390, specs.ArchS390X, specs.ArchPARISC, specs.ArchPARISC64, specs.ArchRISCV64,
	specs.ArchLOONGARCH64, specs.ArchM68K, specs.ArchSH, specs.ArchSHEB,
}

// listed gives the architectures of the machine that the profile lists, and the machine's own, which stands first.
func listed(names []specs.Arch, m Machine) ([]arch, error) {
	all, ok := machines[m.Arch]
	if !ok {
		return nil, fmt.Errorf("compile a seccomp profile for %s: only amd64 and arm64 are known", m.Arch)
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("seccomp profile: architecture %q is unknown", name)
		}
	}
	var out []arch
	for i, a := range all {
		if i == 0 || slices.Contains(names, a.name) {
			out = append(out, a)
		}
	}
	return out, nil
}
