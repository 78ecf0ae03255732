package pod

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"podlet/pause"
)

// namespaceTypes are the seven types as /proc/PID/ns spells them (namespaces(7)).
var namespaceTypes = []string{"mnt", "pid", "net", "ipc", "uts", "user", "cgroup"}

// errNoPause says that the pod's pause has ended, and its namespaces with it.
var errNoPause = fmt.Errorf("the pod's pause has ended: %w", ErrState)

// openNamespace opens a namespace that pause lives in; "user" is the one that owns its network or IPC namespace.
func (p *Pod) openNamespace(kind string) (*os.File, error) {
	pidfd, err := p.pidfd()
	if err != nil {
		return nil, err
	}
	defer pidfd.Close()
	if kind != "user" {
		return openNamespace(pidfd, kind)
	}
	owned := "ipc"
	if p.spec.HostIPC {
		owned = "net"
	}
	ns, err := openNamespace(pidfd, owned)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	fd, err := unix.IoctlRetInt(int(ns.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		return nil, fmt.Errorf("ask the pod's %s namespace for its user namespace: %w", owned, err)
	}
	unix.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), "user namespace of "+p.name()), nil
}

// openNamespace opens a namespace of the process behind pidfd. The pid is looked at again afterwards: while the process lives
// its number can't have been anybody else's.
func openNamespace(pidfd *os.File, kind string) (*os.File, error) {
	pid, err := pause.PID(pidfd)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
	if err != nil {
		return nil, err
	}
	if ended(pidfd) {
		f.Close()
		return nil, os.ErrProcessDone
	}
	return f, nil
}

// namespaces gives the inode of each namespace of the process behind pidfd, and its pid on the node.
func namespaces(pidfd *os.File) (pid int, inodes map[string]uint64, err error) {
	if pid, err = pause.PID(pidfd); err != nil {
		return 0, nil, err
	}
	inodes = map[string]uint64{}
	for _, kind := range namespaceTypes {
		var st unix.Stat_t
		if err := unix.Stat(fmt.Sprintf("/proc/%d/ns/%s", pid, kind), &st); err != nil {
			return 0, nil, fmt.Errorf("stat the %s namespace of process %d: %w", kind, pid, err)
		}
		inodes[kind] = st.Ino
	}
	if ended(pidfd) {
		return 0, nil, os.ErrProcessDone
	}
	return pid, inodes, nil
}
