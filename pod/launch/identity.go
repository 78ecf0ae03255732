package launch

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"podlet/internal/seccomp"
	"podlet/pod/spec"
	"podlet/pod/tape"
)

// become gives up, in the order in which each step still may: the bounding set, groups, ids, capabilities, new privileges.
//
// Putting a filter in force takes no_new_privs or CAP_SYS_ADMIN, and the filter comes last, so that it need not allow the steps of a launch. A
// process without no_new_privs therefore keeps that capability until execve, which takes what isn't in the bounding set.
func become(b *tape.Builder, p *spec.Process, m *spec.Machine) {
	for c := 0; c <= m.LastCapability; c++ {
		if p.Caps.Bounding>>c&1 == 0 {
			b.CapBsetDrop(c, "drop "+spec.CapabilityName(c)+" from the bounding set")
		}
	}
	if p.UID != 0 {
		// Without it the kernel drops all at once, and ambient ones could not be raised.
		b.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0, "keep capabilities over the change of ids")
	}
	b.Setgroups(p.Groups, "set supplementary groups")
	b.Setresgid(p.GID, "set the group")
	b.Setresuid(p.UID, "set the user")
	held := p.Caps.Bounding
	if p.Seccomp != spec.SeccompUnconfined && !p.NoNewPrivs {
		held |= 1 << unix.CAP_SYS_ADMIN
	}
	b.Capset(held, held, p.Caps.Ambient, "set capabilities")
	for c := 0; c <= m.LastCapability; c++ {
		if p.Caps.Ambient>>c&1 == 1 {
			b.CapAmbientRaise(c, "raise "+spec.CapabilityName(c)+" to the ambient set")
		}
	}
	if p.UID != 0 {
		b.Prctl(unix.PR_SET_KEEPCAPS, 0, 0, 0, 0, "the program's own change of ids drops capabilities")
	}
	if p.NoNewPrivs {
		b.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, "no new privileges")
	}
}

// stdio gives the process its fds 0 to 2: the terminal, or three files where it is nil.
func stdio(b *tape.Builder, terminal tape.Fd) {
	if terminal != nil {
		for fd := range 3 {
			b.Dup3(terminal, fd, 0, "the terminal as stdio")
		}
		b.Close(terminal, "")
		b.Ioctl(tape.Num(0), unix.TIOCSCTTY, 0, "make it the controlling terminal")
		return
	}
	for fd, name := range []string{FDStdin, FDStdout, FDStderr} {
		f := b.FD(name)
		b.Dup3(f, fd, 0, name)
		b.Close(f, "")
	}
}

// final is the common end of a container's and an exec's tape, inside the container's root.
func final(b *tape.Builder, p *spec.Process, m *spec.Machine, terminal tape.Fd, gate func()) error {
	filter, err := filterOf(p, m)
	if err != nil {
		return err
	}
	stdio(b, terminal)
	b.KeyctlJoinSession("", "a session keyring of its own").Ignore(unix.ENOSYS)
	b.Prlimit(unix.RLIMIT_NOFILE, p.OpenFilesSoft, p.OpenFilesHard, "limit open files")
	// No magic link: one of /proc/self/fd could lead out of the root (CVE-2024-21626).
	how := tape.How{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS}
	why := "go to working directory " + p.Cwd
	cwd := b.OpenAt2(tape.Cwd, p.Cwd, how, why)
	b.Fchdir(cwd, why)
	b.Close(cwd, "")
	b.CloseRange(3, ^uint32(0), unix.CLOSE_RANGE_CLOEXEC, "leave nothing open to the program")
	become(b, p, m)
	gate()
	if filter != nil {
		b.Seccomp(filter.Flags, filter.Program, "filter system calls by the profile "+string(p.Seccomp))
	}
	looked := sought(p)
	for _, program := range p.Programs {
		step := b.Execve(program, p.Args, p.Env, "run "+program).Sought(looked)
		if len(p.Programs) > 1 {
			step.Try().Ignore(unix.ENOENT, unix.ENOTDIR, unix.EACCES)
		}
	}
	return nil
}

// sought says that a name which is looked up in PATH is not there, in the words that users of other runtimes know; "" where nothing is looked up.
func sought(p *spec.Process) string {
	if len(p.Args) == 0 || strings.Contains(p.Args[0], "/") {
		return ""
	}
	var path []string
	for _, program := range p.Programs {
		path = append(path, strings.TrimSuffix(program, "/"+p.Args[0]))
	}
	return fmt.Sprintf("run %q: executable file not found in $PATH (%s)", p.Args[0], strings.Join(path, ":"))
}

// filterOf is the process's seccomp filter, nil for none.
func filterOf(p *spec.Process, m *spec.Machine) (*seccomp.Filter, error) {
	switch p.Seccomp {
	case spec.SeccompUnconfined:
		return nil, nil
	case spec.SeccompRuntimeDefault:
		machine, err := seccomp.ThisMachine(m.Kernel)
		if err != nil {
			return nil, err
		}
		return seccomp.Default(p.Caps.Bounding, machine)
	default:
		return nil, fmt.Errorf("%w: seccomp profile %q", spec.ErrInvalid, p.Seccomp)
	}
}
