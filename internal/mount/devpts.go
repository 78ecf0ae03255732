package mount

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// ttyGroup is the group "tty" on every distribution; mode 0620 lets it write to a terminal, and nobody else.
const ttyGroup = 5

// DevPTS makes a detached devpts instance of its own for a container's /dev/pts: ptmxmode=0666, mode=0620, gid=5 (the mapped 5 of
// a pod with a user namespace), nosuid, noexec.
func DevPTS(u *UserNS) (*os.File, error) {
	gid, ok := uint32(ttyGroup), true
	if u != nil {
		gid, ok = u.HostGID(ttyGroup)
	}
	if !ok {
		return nil, fmt.Errorf("/dev/pts: the user namespace doesn't map group %d, which terminals belong to", ttyGroup)
	}
	// Every devpts mount is an instance of its own since Linux 4.7; "newinstance" would say nothing.
	params := []param{{"source", "devpts"}, {"ptmxmode", "0666"}, {"mode", "0620"}, {"gid", strconv.FormatUint(uint64(gid), 10)}}
	fd, err := newFS("devpts", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, params)
	if err != nil {
		return nil, fmt.Errorf("/dev/pts: %w", err)
	}
	if u != nil {
		if err := giveDevPTS(fd, u); err != nil {
			unix.Close(fd)
			return nil, fmt.Errorf("/dev/pts: %w", err)
		}
	}
	return file(fd, "/dev/pts"), nil
}

// giveDevPTS gives the directory and its ptmx to the pod's root: devpts has options for the terminals' owner only.
func giveDevPTS(fd int, u *UserNS) error {
	uid, gid, err := u.root()
	if err != nil {
		return err
	}
	if err := unix.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH); err != nil {
		return &Error{Call: "fchownat", FS: "devpts", Path: ".", Err: err}
	}
	if err := unix.Fchownat(fd, "ptmx", uid, gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &Error{Call: "fchownat", FS: "devpts", Path: "ptmx", Err: err}
	}
	return nil
}

// OpenPTY opens a new terminal in the devpts instance, by fds alone: a path /dev/pts/N could be exchanged by a container (CVE-2025-52565). Both
// ends are the caller's. The slave belongs to root until the caller fchowns it. For /dev/console the slave's fd is what is cloned, with
// open_tree(slave, "", OPEN_TREE_CLONE), once the instance is attached: before that only Linux 6.15 can.
func OpenPTY(devpts *os.File) (master, slave *os.File, err error) {
	m, err := unix.Openat(int(devpts.Fd()), "ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open a terminal: %w", &Error{Call: "openat", Path: "ptmx", Err: err})
	}
	s, err := openPeer(m)
	if err != nil {
		unix.Close(m)
		return nil, nil, fmt.Errorf("open a terminal: %w", err)
	}
	return file(m, "pty master"), file(s, "pty slave"), nil
}

func openPeer(master int) (int, error) {
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return -1, &Error{Call: "ioctl", Key: "TIOCSPTLCK", Err: err}
	}
	// The flags are the argument itself, the new fd the result: no wrapper of x/sys has this shape.
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return -1, &Error{Call: "ioctl", Key: "TIOCGPTPEER", Err: errno}
	}
	return int(fd), nil
}

// FindDevPTS opens the directory dev/pts below root, an fd of a container's root directory. The container decides what is there: an
// error unless it is a devpts, whose ptmx opens new terminals and nothing else.
func FindDevPTS(root int) (*os.File, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(root, "dev/pts", &how)
	if err != nil {
		return nil, &Error{Call: "openat2", Path: "/dev/pts", Err: err}
	}
	f := file(fd, "/dev/pts")
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		f.Close()
		return nil, &Error{Call: "fstatfs", Path: "/dev/pts", Err: err}
	}
	if st.Type != unix.DEVPTS_SUPER_MAGIC {
		f.Close()
		return nil, fmt.Errorf("/dev/pts in the container is not a devpts: it has no terminals")
	}
	return f, nil
}
