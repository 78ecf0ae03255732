package launch

import (
	"golang.org/x/sys/unix"

	"podlet/pod/tape"
)

// Nursery is what the nursery plays on itself: it moves into a root of its own and takes the process state that every process
// of podlet starts from, so that none depends on how podlet was started. What is inherited needs no step in other tapes.
func Nursery() (*tape.Tape, error) {
	b := tape.New("nursery")
	root, maskDir, maskFile := b.FD(FDNurseryRoot), b.FD(FDMaskDir), b.FD(FDMaskFile)
	b.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0, "hide from containers")
	b.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "", "cut the copy of the host's mounts off")
	b.MoveMount(root, "", tape.Cwd, "/", unix.MOVE_MOUNT_F_EMPTY_PATH, "mount the nursery's root")
	enter(b, root)
	b.MoveMount(maskDir, "", tape.Cwd, pathMaskDir, unix.MOVE_MOUNT_F_EMPTY_PATH, "mount the empty directory")
	b.Close(maskDir, "")
	b.MoveMount(maskFile, "", tape.Cwd, pathMaskFile, unix.MOVE_MOUNT_F_EMPTY_PATH, "mount the null device")
	b.Close(maskFile, "")
	b.MountSetattr(tape.Cwd, "/", 0, tape.MountAttr{Set: unix.MOUNT_ATTR_RDONLY}, "make the nursery's root read-only")
	processState(b)
	return b.Finish()
}

// processState is the state of a process that its config doesn't speak of.
func processState(b *tape.Builder) {
	b.Umask(0o022, "default umask")
	b.Personality(0, "plain Linux personality")
	b.KeyctlJoinSession("", "leave podlet's session keyring").Ignore(unix.ENOSYS)
	// A nice value or real-time priority that podlet was started with needs CAP_SYS_NICE to be left.
	b.Setpriority(0, "nice 0").Ignore(unix.EACCES, unix.EPERM)
	b.SchedSetscheduler(unix.SCHED_NORMAL, 0, "normal scheduling").Ignore(unix.EPERM)
	b.SchedSetaffinity(everyCPU, "run on every CPU of the cpuset")
	b.IoprioSet(0, 0, "no I/O priority").Ignore(unix.EPERM)
	b.SetMempolicyDefault("default memory policy").Ignore(unix.ENOSYS)
	b.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0, "default timer slack")
	b.Prctl(unix.PR_SET_THP_DISABLE, 0, 0, 0, 0, "transparent huge pages as the node has them")
}

// enter makes the mount behind root, which is mounted somewhere in this mount namespace, the root of it, closes root and drops the old one.
// The old root is stacked below the new one's "." (pivot_root(2), "pivot_root(".", ".")"), so no directory is needed for it.
func enter(b *tape.Builder, root tape.Fd) {
	b.Fchdir(root, "go to the new root")
	b.Close(root, "")
	b.PivotRoot(".", ".", "make it the root")
	b.Umount2(".", unix.MNT_DETACH, "drop the old root")
	b.Chdir("/", "go to /")
}

// everyCPU stands for all CPUs that a kernel can have; it takes those that the cpuset grants (sched_setaffinity(2)).
var everyCPU = func() []uint64 {
	mask := make([]uint64, 8192/64)
	for i := range mask {
		mask[i] = ^uint64(0)
	}
	return mask
}()
