package launch

import (
	"golang.org/x/sys/unix"

	"podlet/pod/spec"
	"podlet/pod/tape"
)

// Init is what the PID 1 of a pod's shared PID namespace plays. Containers see that process, so its root is an
// empty directory; the rest of its hardening is pause/src/init.c.
func Init(s *spec.Sandbox) (*tape.Tape, error) {
	b := tape.New("init of pod " + s.Namespace + "/" + s.Name)
	ready := b.FD(FDReady)
	b.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0, "hide from containers")
	if s.UserNS != nil {
		join(b, b.FD(FDUserNS), unix.CLONE_NEWUSER, "join the pod's user namespace")
	}
	b.Clone3(tape.Clone{Flags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_PARENT}, "clone the PID 1 with PID and MNT namespaces")
	if s.UserNS != nil {
		mappedRoot(b)
	}
	root := b.OpenTree(tape.Cwd, pathMaskDir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC, "clone the empty directory")
	b.MoveMount(root, "", tape.Cwd, pathContainer, unix.MOVE_MOUNT_F_EMPTY_PATH, "mount it")
	enter(b, root)
	b.Close(ready, "tell podlet that PID 1 is there")
	return b.Finish()
}

// mappedRoot makes the caller root of the user namespace it has joined; until then it is there as nobody.
func mappedRoot(b *tape.Builder) {
	b.Setgroups(nil, "drop the node's groups")
	b.Setresgid(0, "become the pod's root group")
	b.Setresuid(0, "become the pod's root")
}
