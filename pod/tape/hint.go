package tape

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// failure is a call and an errno that says more about that call than its name does.
type failure struct {
	nr    uint16
	errno syscall.Errno
}

// hints decode the errnos that are ambiguous or misleading where they arise (the ERRORS of each call's manual page).
var hints = map[failure]string{
	{unix.SYS_CLONE3, unix.ENOSPC}:        "the machine allows no more namespaces: raise the sysctls user.max_*_namespaces",
	{unix.SYS_CLONE3, unix.EAGAIN}:        "no room for another process: a cgroup's pids.max, RLIMIT_NPROC or kernel.pid_max is reached",
	{unix.SYS_CLONE3, unix.EBUSY}:         "the cgroup has controllers enabled for its children and takes no process itself",
	{unix.SYS_CLONE3, unix.EOPNOTSUPP}:    "the cgroup is threaded or in an invalid state: see its cgroup.type",
	{unix.SYS_CLONE3, unix.ENOMEM}:        "no memory, or the PID namespace's first process has ended",
	{unix.SYS_CLONE3, unix.ENODEV}:        "the cgroup was removed",
	{unix.SYS_UNSHARE, unix.ENOSPC}:       "the machine allows no more namespaces: raise the sysctls user.max_*_namespaces",
	{unix.SYS_SETNS, unix.EINVAL}:         "the fd isn't of that kind of namespace, or the process can't enter it from where it is",
	{unix.SYS_SETNS, unix.ESRCH}:          "the process whose namespaces were to be joined has ended",
	{unix.SYS_OPENAT2, unix.EXDEV}:        "the path leaves the tree that it must stay in",
	{unix.SYS_OPENAT2, unix.ELOOP}:        "a symbolic link stands where none may, or too many do",
	{unix.SYS_OPENAT2, unix.EAGAIN}:       "the tree was changed while the path was walked",
	{unix.SYS_MOVE_MOUNT, unix.EINVAL}:    "a file can't be mounted on a directory, nor a directory on a file; or the kernel can't attach this mount here",
	{unix.SYS_MOVE_MOUNT, unix.ENOTDIR}:   "a directory can't be mounted on a file, nor a file on a directory",
	{unix.SYS_MOVE_MOUNT, unix.ELOOP}:     "the mount would be below itself",
	{unix.SYS_MOUNT_SETATTR, unix.EINVAL}: "the kernel or the file system can't do this (idmapped mounts: Linux 5.12 and the file system's help)",
	{unix.SYS_MOUNT_SETATTR, unix.EPERM}:  "an attribute of the mount is locked by a user namespace above",
	{unix.SYS_FSMOUNT, unix.EPERM}:        "a user namespace may mount proc or sysfs only while one is fully visible",
	{unix.SYS_FSCONFIG, unix.EPERM}:       "the user namespace may not mount this file system",
	{unix.SYS_FSCONFIG, unix.EINVAL}:      "the kernel doesn't know the parameter or its value",
	{unix.SYS_PIVOT_ROOT, unix.EINVAL}:    "the new root is no mount point, or a parent mount is shared",
	{unix.SYS_PIVOT_ROOT, unix.EBUSY}:     "the new root is the present one",
	{unix.SYS_MKDIRAT, unix.EROFS}:        "the mount point doesn't exist in the image, and the root is read-only",
	{unix.SYS_CHDIR, unix.ENOENT}:         "the working directory doesn't exist in the container",
	{unix.SYS_CHDIR, unix.EACCES}:         "the container's user may not enter its working directory",
	{unix.SYS_READ, unix.EPIPE}:           "podlet went away before it gave the word",
	{unix.SYS_SETGROUPS, unix.EPERM}:      "no CAP_SETGID, or the user namespace denies setgroups",
	{unix.SYS_SETGROUPS, unix.EINVAL}:     "a group isn't mapped in the user namespace",
	{unix.SYS_SETRESUID, unix.EINVAL}:     "the user isn't mapped in the user namespace",
	{unix.SYS_SETRESUID, unix.EAGAIN}:     "the user's RLIMIT_NPROC is reached",
	{unix.SYS_SETRESGID, unix.EINVAL}:     "the group isn't mapped in the user namespace",
	{unix.SYS_PRLIMIT64, unix.EPERM}:      "raising a hard limit needs CAP_SYS_RESOURCE; RLIMIT_NOFILE can't exceed the sysctl fs.nr_open",
	{unix.SYS_SECCOMP, unix.EACCES}:       "a filter needs no_new_privs or CAP_SYS_ADMIN",
	{unix.SYS_SECCOMP, unix.EINVAL}:       "the kernel doesn't accept the filter or a flag",
	{unix.SYS_KEYCTL, unix.EDQUOT}:        "the user's key quota is used up: raise the sysctls kernel.keys.maxkeys and kernel.keys.maxbytes",
	{unix.SYS_EXECVE, unix.ENOENT}:        "no such program, or the interpreter or loader that it names doesn't exist",
	{unix.SYS_EXECVE, unix.EACCES}:        "not executable for this user, no regular file, or on a mount without exec",
	{unix.SYS_EXECVE, unix.ENOEXEC}:       "no program for this machine, or a script without #!",
	{unix.SYS_EXECVE, unix.E2BIG}:         "arguments and environment are too large: a string may have 128 KiB, all a quarter of the stack limit",
	{unix.SYS_EXECVE, unix.EPERM}:         "the mount is nosuid or the LSM refuses",
	{unix.SYS_EXECVE, unix.ENOMEM}:        "no memory: the container's memory limit may be below what a start needs",
}

func hint(s *step, errno syscall.Errno) string {
	if errno == unix.ENOSYS {
		return "the kernel is too old for this call, or a seccomp filter forbids it"
	}
	return hints[failure{s.nr, errno}]
}
