package spec

import (
	"fmt"
	"strings"
)

// capabilityNames are the kernel's, the index being the number (capabilities(7)).
var capabilityNames = []string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE",
	"NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT",
	"SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE",
	"AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ",
	"PERFMON", "BPF", "CHECKPOINT_RESTORE",
}

// defaultCapabilities are what containerd and CRI-O's users know as the default.
var defaultCapabilities = []string{
	"CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP", "NET_BIND_SERVICE",
	"SYS_CHROOT", "KILL", "AUDIT_WRITE",
}

// CapabilitySets are the sets of capabilities(7), a bit a capability. Permitted and effective sets are the bounding set's: execve
// takes from them what a user other than root doesn't get.
type CapabilitySets struct {
	Bounding, Ambient uint64
}

// CapabilityBit gives the bit of a name, in any case, with or without "CAP_".
func CapabilityBit(name string) (uint64, error) {
	short := strings.TrimPrefix(strings.ToUpper(name), "CAP_")
	for i, known := range capabilityNames {
		if known == short {
			return 1 << i, nil
		}
	}
	return 0, fmt.Errorf("%w: unknown capability %q", ErrInvalid, name)
}

// CapabilityName is "CAP_…" for a number the kernel may know better than this list.
func CapabilityName(number int) string {
	if number < len(capabilityNames) {
		return "CAP_" + capabilityNames[number]
	}
	return fmt.Sprintf("CAP_%d", number)
}

// all are the machine's capabilities.
func (m *Machine) all() uint64 { return 1<<(m.LastCapability+1) - 1 }

// Sets computes the sets of a process: the default (or all, if privileged), plus Add, less Drop, where "ALL" comes before single
// names of the other list (as containerd does). missing are those that were asked for by name and podlet can't give.
func (c *Capabilities) Sets(privileged bool, m *Machine) (sets CapabilitySets, missing []string, err error) {
	if privileged {
		return CapabilitySets{Bounding: m.all() & m.Capabilities}, nil, nil
	}
	add, addAll, err := bits(c.Add, m)
	if err != nil {
		return sets, nil, err
	}
	drop, dropAll, err := bits(c.Drop, m)
	if err != nil {
		return sets, nil, err
	}
	ambient, _, err := bits(c.Ambient, m)
	if err != nil {
		return sets, nil, err
	}
	var want uint64
	for _, name := range defaultCapabilities {
		bit, _ := CapabilityBit(name)
		want |= bit
	}
	if addAll {
		want = m.all()
	}
	if dropAll {
		want = 0
	}
	want = (want | add) &^ drop
	// A capability in the ambient set must be permitted (KEP-2763).
	want |= ambient
	for i := 0; i <= m.LastCapability; i++ {
		if (add|ambient)&^m.Capabilities>>i&1 == 1 {
			missing = append(missing, CapabilityName(i))
		}
	}
	return CapabilitySets{Bounding: want & m.Capabilities, Ambient: ambient & m.Capabilities}, missing, nil
}

// bits is the union of names; all says that "ALL" was among them.
func bits(names []string, m *Machine) (set uint64, all bool, err error) {
	for _, name := range names {
		if strings.EqualFold(name, "ALL") || strings.EqualFold(name, "CAP_ALL") {
			all = true
			continue
		}
		bit, err := CapabilityBit(name)
		if err != nil {
			return 0, false, err
		}
		set |= bit & m.all()
	}
	return set, all, nil
}
