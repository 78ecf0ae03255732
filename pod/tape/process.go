package tape

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// Prctl has plain numbers as arguments.
//
//	prctl(PR_SET_DUMPABLE, 0)
func (b *Builder) Prctl(op int, a1, a2, a3, a4 uint64, why string) *StepRef {
	return b.add(unix.SYS_PRCTL, why, signed(op), imm(a1), imm(a2), imm(a3), imm(a4))
}

// Setsid starts a session.
//
//	setsid()
func (b *Builder) Setsid(why string) *StepRef { return b.add(unix.SYS_SETSID, why) }

// Prlimit sets a limit (RLIMIT_*) of the process itself. ^uint64(0) is RLIM_INFINITY.
//
//	prlimit64(0, RLIMIT_NOFILE, {cur=1024, max=524288})
func (b *Builder) Prlimit(resource int, cur, limit uint64, why string) *StepRef {
	if cur > limit {
		b.note(fmt.Errorf("step %d: the soft limit %d is above the hard limit %d", len(b.steps), cur, limit))
	}
	p := binary.LittleEndian.AppendUint64(nil, cur)
	p = binary.LittleEndian.AppendUint64(p, limit)
	return b.add(unix.SYS_PRLIMIT64, why, imm(0), signed(resource), b.buf(p), imm(0))
}

// Umask sets the file mode creation mask.
//
//	umask(022)
func (b *Builder) Umask(mask uint32, why string) *StepRef {
	return b.add(unix.SYS_UMASK, why, imm(uint64(mask)))
}

// Personality sets the execution domain; 0 is Linux's own.
//
//	personality(PER_LINUX)
func (b *Builder) Personality(persona uint64, why string) *StepRef {
	return b.add(unix.SYS_PERSONALITY, why, imm(persona))
}

// RtSigprocmask sets the blocked signals, bit n-1 for signal n. 0 blocks none.
//
//	rt_sigprocmask(SIG_SETMASK, [], NULL, 8)
func (b *Builder) RtSigprocmask(blocked uint64, why string) *StepRef {
	p := binary.LittleEndian.AppendUint64(nil, blocked)
	return b.add(unix.SYS_RT_SIGPROCMASK, why, imm(unix.SIG_SETMASK), b.buf(p), imm(0), imm(8))
}

// RtSigactionDefault gives a signal its default disposition; execve keeps an ignored one ignored.
//
//	rt_sigaction(SIGPIPE, SIG_DFL, NULL, 8)
func (b *Builder) RtSigactionDefault(signal unix.Signal, why string) *StepRef {
	// struct sigaction of the kernel: handler, flags, restorer and mask, 8 bytes each on both machines.
	return b.add(unix.SYS_RT_SIGACTION, why, imm(uint64(signal)), b.buf(make([]byte, 32)), imm(0), imm(8))
}
