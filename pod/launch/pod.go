package launch

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"podlet/pod/spec"
	"podlet/pod/tape"
)

// PodFlags are the clone flags of a pod's pause. The guard PID namespace takes the pod's processes with it when pause dies; a hostPID
// pod can have none, since nobody can setns up to an ancestor of his PID namespace.
func PodFlags(s *spec.Sandbox) uint64 {
	flags := uint64(unix.CLONE_NEWNS)
	if !s.HostPID {
		flags |= unix.CLONE_NEWPID
	}
	if s.UserNS == nil {
		flags |= sharedFlags(s)
	}
	return flags
}

// sharedFlags are the namespaces that pause holds for its containers. As with other runtimes a host network pod keeps the node's name.
func sharedFlags(s *spec.Sandbox) uint64 {
	var flags uint64
	if !s.HostNetwork {
		flags |= unix.CLONE_NEWNET | unix.CLONE_NEWUTS
	}
	if !s.HostIPC {
		flags |= unix.CLONE_NEWIPC
	}
	return flags
}

// UserNSFlags are the clone flags of the helper whose namespaces a userns pod's pause joins.
func UserNSFlags(s *spec.Sandbox) uint64 { return unix.CLONE_NEWUSER | sharedFlags(s) }

// UserNS is the helper's tape: it holds the new namespaces until podlet lets go of the gate's other end.
func UserNS() (*tape.Tape, error) {
	b := tape.New("user namespace")
	gate := b.FD(FDGate)
	b.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0, "hide the helper from containers")
	b.Read1(gate, "wait until pause has joined")
	b.Close(gate, "let go of the gate")
	return b.Finish()
}

// Pod is what the nursery's child plays before it becomes the pod's pause. The network namespace comes first: podlet connects it while the rest is played.
func Pod(s *spec.Sandbox) (*tape.Tape, error) {
	b := tape.New("pod " + s.Namespace + "/" + s.Name)
	root := b.FD(FDPodRoot)
	b.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0, "hide from containers")
	if s.UserNS != nil {
		joinHelper(b, s)
	}
	b.MoveMount(root, "", tape.Cwd, pathPod, unix.MOVE_MOUNT_F_EMPTY_PATH, "mount the pod's tmpfs")
	b.Close(root, "")
	attachNew(b, "proc", "/pod/proc")
	if !s.HostNetwork {
		loopbackUp(b)
	}
	if err := sysctls(b, s); err != nil {
		return nil, err
	}
	if !s.HostNetwork {
		b.Close(b.FD(FDReady), "tell podlet that the network namespace is set up")
		if s.Hostname != "" {
			b.Sethostname(s.Hostname, "set the pod's hostname")
		}
	}
	attachNew(b, "sysfs", podPaths[spec.SourceSysfs])
	if !s.HostIPC {
		shm := b.FD(FDPodShm)
		b.MoveMount(shm, "", tape.Cwd, podPaths[spec.SourceShm], unix.MOVE_MOUNT_F_EMPTY_PATH, "mount the pod's /dev/shm")
		b.Close(shm, "")
	}
	// Of the node's IPC namespace where the pod has that: mounting it anew shows the same queues.
	attachNew(b, "mqueue", podPaths[spec.SourceMqueue])
	return b.Finish()
}

// sysctls, but for those that podlet writes once the pod has its network, are written through pause's own /proc, whose net and ipc entries are those of the namespaces that the writer is in.
func sysctls(b *tape.Builder, s *spec.Sandbox) error {
	list, err := s.Sysctls()
	if err != nil {
		return err
	}
	for _, p := range list {
		if p.OfLinks() {
			continue
		}
		why := "set sysctl " + p.Path
		f := b.OpenAt2(tape.Cwd, pathSysctl+p.Path, tape.How{Flags: unix.O_WRONLY | unix.O_CLOEXEC}, why)
		b.Write(f, []byte(p.Value), why)
		b.Close(f, "")
	}
	return nil
}

func joinHelper(b *tape.Builder, s *spec.Sandbox) {
	if !s.HostNetwork {
		join(b, b.FD(FDNetNS), unix.CLONE_NEWNET, "join the pod's network namespace")
		join(b, b.FD(FDUTSNS), unix.CLONE_NEWUTS, "join the pod's UTS namespace")
	}
	if !s.HostIPC {
		join(b, b.FD(FDIPCNS), unix.CLONE_NEWIPC, "join the pod's IPC namespace")
	}
}

func join(b *tape.Builder, ns tape.FD, flag uint64, why string) {
	b.Setns(ns, flag, why)
	b.Close(ns, "")
}

// attachNew mounts a new instance of a kernel file system for the namespaces the caller is in.
func attachNew(b *tape.Builder, fs, at string) {
	m := newMount(b, fs, 0)
	b.MoveMount(m, "", tape.Cwd, at, unix.MOVE_MOUNT_F_EMPTY_PATH, "mount "+fs+" on "+at)
	b.Close(m, "")
}

func newMount(b *tape.Builder, fs string, attrs int) tape.Reg {
	ctx := b.FSOpen(fs, "open "+fs)
	// What /proc/mounts shows, and programs look for; without one it is "none".
	b.FSConfigString(ctx, "source", fs, "name "+fs)
	b.FSConfigCreate(ctx, "create "+fs)
	m := b.FSMount(ctx, uint32(attrs|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC), "make a mount of "+fs)
	b.Close(ctx, "")
	return m
}

// loopbackUp is `ip link set lo up` (netdevice(7), SIOCSIFFLAGS).
func loopbackUp(b *tape.Builder) {
	ifreq := make([]byte, 40)
	copy(ifreq, "lo")
	binary.NativeEndian.PutUint16(ifreq[unix.IFNAMSIZ:], unix.IFF_UP|unix.IFF_RUNNING)
	s := b.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0, "open a socket")
	b.IoctlBuf(s, unix.SIOCSIFFLAGS, ifreq, "bring lo up")
	b.Close(s, "")
}
