package tape

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// Setgroups sets the supplementary groups; none leaves none.
//
//	setgroups(2, [1000, 2000])
func (b *Builder) Setgroups(groups []uint32, why string) *StepRef {
	var p []byte
	for _, g := range groups {
		p = binary.LittleEndian.AppendUint32(p, g)
	}
	return b.add(unix.SYS_SETGROUPS, why, imm(uint64(len(groups))), b.buf(p))
}

// Setresuid sets the real, the effective and the saved user id alike.
//
//	setresuid(1000, 1000, 1000)
func (b *Builder) Setresuid(uid uint32, why string) *StepRef {
	id := imm(uint64(uid))
	return b.add(unix.SYS_SETRESUID, why, id, id, id)
}

// Setresgid sets the real, the effective and the saved group id alike.
//
//	setresgid(1000, 1000, 1000)
func (b *Builder) Setresgid(gid uint32, why string) *StepRef {
	id := imm(uint64(gid))
	return b.add(unix.SYS_SETRESGID, why, id, id, id)
}

// Capset sets the process's capabilities, a bit a capability.
//
//	capset({_LINUX_CAPABILITY_VERSION_3, 0}, {effective=CAP_CHOWN|CAP_KILL, permitted=CAP_CHOWN|CAP_KILL, inheritable=0})
func (b *Builder) Capset(effective, permitted, inheritable uint64, why string) *StepRef {
	header := make([]byte, 8)
	binary.LittleEndian.PutUint32(header, unix.LINUX_CAPABILITY_VERSION_3)
	var sets []byte
	for shift := 0; shift < 64; shift += 32 {
		for _, set := range []uint64{effective, permitted, inheritable} {
			sets = binary.LittleEndian.AppendUint32(sets, uint32(set>>shift))
		}
	}
	return b.add(unix.SYS_CAPSET, why, b.buf(header), b.buf(sets))
}

// CapAmbientRaise adds a capability, permitted and inheritable, to the ambient set.
//
//	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0)
func (b *Builder) CapAmbientRaise(capability int, why string) *StepRef {
	return b.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uint64(capability), 0, 0, why)
}

// CapBsetDrop takes a capability out of the bounding set.
//
//	prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0)
func (b *Builder) CapBsetDrop(capability int, why string) *StepRef {
	return b.Prctl(unix.PR_CAPBSET_DROP, uint64(capability), 0, 0, 0, why)
}

// KeyctlJoinSession makes a new session keyring; an empty name makes an anonymous one.
//
//	keyctl(KEYCTL_JOIN_SESSION_KEYRING, "_ses.0123")
func (b *Builder) KeyctlJoinSession(name, why string) *StepRef {
	return b.add(unix.SYS_KEYCTL, why, imm(unix.KEYCTL_JOIN_SESSION_KEYRING), b.optional(name))
}

// Seccomp puts a filter in force. It needs no_new_privs or CAP_SYS_ADMIN; flags are SECCOMP_FILTER_FLAG_*. No step behind it may need
// a call that the filter forbids; the player's own bookkeeping needs none.
//
//	seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_LOG, {len=312})
func (b *Builder) Seccomp(flags uint64, program []unix.SockFilter, why string) *StepRef {
	le := binary.LittleEndian
	filter := make([]byte, 0, 8*len(program)) // struct sock_filter
	for _, f := range program {
		filter = le.AppendUint16(filter, f.Code)
		filter = append(filter, f.Jt, f.Jf)
		filter = le.AppendUint32(filter, f.K)
	}
	if n := len(program); n == 0 || n > unix.BPF_MAXINSNS {
		b.note(fmt.Errorf("step %d: a seccomp filter of %d instructions: 1 to %d are allowed", len(b.steps), n, unix.BPF_MAXINSNS))
		return b.add(unix.SYS_SECCOMP, why)
	}
	prog := make([]byte, 16) // struct sock_fprog
	le.PutUint16(prog, uint16(len(program)))
	at := b.data.blob(filter, nil)
	return b.add(unix.SYS_SECCOMP, why, imm(unix.SECCOMP_SET_MODE_FILTER), imm(flags), b.buf(prog, reloc{8, relocData, at}))
}
