package launch

import (
	"fmt"

	"golang.org/x/sys/unix"

	"podlet/pod/spec"
	"podlet/pod/tape"
)

// Exec is everything that the tape of a command run inside a container is made from.
type Exec struct {
	// Name is "namespace/pod/container", for messages.
	Name    string
	Process *spec.Process
	// UserNS: the container has a user namespace.
	UserNS  bool
	Cgroup  Cgroup
	Machine *spec.Machine
}

// Tape writes the exec's tape. The CGROUP namespace is joined last: from inside it, on a v2 tree mounted nsdelegate, the kernel
// lets nobody clone into a cgroup who comes from outside.
func (e *Exec) Tape() (*tape.Tape, error) {
	b := tape.New("exec in " + e.Name)
	container := b.FD(FDMember)
	b.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0, "hide from the container")
	joinCgroups(b, e.Cgroup.Joins)
	oomScore(b, e.Process.OOMScoreAdj)
	flags := uint64(unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS)
	if e.UserNS {
		flags |= unix.CLONE_NEWUSER
	}
	b.Setns(container, flags, "join the container's namespaces")
	fork(b, unix.CLONE_PARENT, e.Cgroup.Unified, "clone the command")
	b.Setsid("a session of its own")
	if e.Cgroup.Last != "" {
		joinCgroup(b, e.Cgroup.Last)
	}
	b.Setns(container, unix.CLONE_NEWCGROUP, "join the container's CGROUP namespace")
	b.Close(container, "")
	var terminal tape.Fd
	if e.Process.TTY {
		terminal = b.FD(FDTerminal)
	}
	if err := final(b, e.Process, e.Machine, terminal, func() {}); err != nil {
		return nil, fmt.Errorf("tape of an exec in %s: %w", e.Name, err)
	}
	return b.Finish()
}
