package tape

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// Setns moves into a namespace, or with a pidfd into those of a process that flags (CLONE_NEW*) name.
//
//	setns(<netns>, CLONE_NEWNET)
func (b *Builder) Setns(fd Fd, flags uint64, why string) *StepRef {
	return b.add(unix.SYS_SETNS, why, b.fd(fd), imm(flags))
}

// Unshare makes new namespaces, CLONE_NEW*.
//
//	unshare(CLONE_NEWCGROUP)
func (b *Builder) Unshare(flags uint64, why string) *StepRef {
	return b.add(unix.SYS_UNSHARE, why, imm(flags))
}

// Clone says what the child of Clone3 is.
type Clone struct {
	// Flags are CLONE_*, without CLONE_INTO_CGROUP.
	Flags uint64
	// Cgroup is the directory of the cgroup that the child starts in; nil: its parent's. It must be an [FD].
	Cgroup Fd
	// ExitSignal must be 0 with CLONE_PARENT; the child then sends what its new parent asked for its sibling.
	ExitSignal uint64
}

// cloneArgsSize is that of struct clone_args with the cgroup field, Linux 5.7.
const cloneArgsSize = 88

// Clone3 is the FORK step: its child plays on, its caller ends. A tape has at most one.
//
//	clone3({flags=CLONE_NEWNS|CLONE_NEWPID|CLONE_PARENT|CLONE_INTO_CGROUP, cgroup=<cgroup>}, 88) = the child plays on
func (b *Builder) Clone3(c Clone, why string) *StepRef {
	args := make([]byte, cloneArgsSize)
	var relocs []reloc
	if c.Cgroup != nil {
		c.Flags |= unix.CLONE_INTO_CGROUP
		relocs = b.passed(c.Cgroup, 80)
	}
	binary.LittleEndian.PutUint64(args[0:], c.Flags)
	binary.LittleEndian.PutUint64(args[32:], c.ExitSignal)
	ref := b.add(unix.SYS_CLONE3, why, b.buf(args, relocs...), imm(cloneArgsSize))
	ref.step().flags |= flagFork
	return ref
}

// passed is the relocation that puts a passed fd's number into 64 bits at where of a struct.
func (b *Builder) passed(f Fd, where uint32) []reloc {
	fd, ok := f.(FD)
	if !ok {
		b.note(errors.New("an fd inside a struct must be a passed one: structs are filled in before the first step"))
		return nil
	}
	b.fd(fd)
	return []reloc{{where, relocFD64, uint64(fd.index)}}
}

// Sethostname sets the UTS namespace's host name.
//
//	sethostname("web-0", 5)
func (b *Builder) Sethostname(name, why string) *StepRef {
	return b.add(unix.SYS_SETHOSTNAME, why, b.str(name), imm(uint64(len(name))))
}

// Setdomainname sets the UTS namespace's NIS domain name.
//
//	setdomainname("example", 7)
func (b *Builder) Setdomainname(name, why string) *StepRef {
	return b.add(unix.SYS_SETDOMAINNAME, why, b.str(name), imm(uint64(len(name))))
}
