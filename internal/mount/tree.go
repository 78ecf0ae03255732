package mount

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// openPath opens path O_PATH, following links and triggering an automount as mount(2) does.
func openPath(path string) (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, &Error{Call: "open_tree", Path: path, Err: err}
	}
	return fd, nil
}

func openDir(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &Error{Call: "open", Path: path, Err: err}
	}
	return fd, nil
}

// cloneTree makes a detached copy of the mount at name below dirfd ("": dirfd itself), with its submounts if
// recursive. path is for the error only.
func cloneTree(dirfd int, name string, recursive bool, path string) (int, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	fd, err := unix.OpenTree(dirfd, name, flags)
	if err != nil {
		return -1, &Error{Call: "open_tree", Key: "OPEN_TREE_CLONE", Path: path, Err: err}
	}
	return fd, nil
}

// setAttr changes the mount at fd, and its submounts if recursive. path is for the error only.
func setAttr(fd int, recursive bool, attr unix.MountAttr, path string) error {
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	if err := unix.MountSetattr(fd, "", flags, &attr); err != nil {
		return &Error{Call: "mount_setattr", Key: attrNames(attr), Path: path, Err: err}
	}
	return nil
}

func attrNames(attr unix.MountAttr) string {
	s := ""
	add := func(name string) {
		if s != "" {
			s += "|"
		}
		s += name
	}
	for _, a := range []struct {
		bit  uint64
		name string
	}{
		{unix.MOUNT_ATTR_RDONLY, "RDONLY"},
		{unix.MOUNT_ATTR_NOSUID, "NOSUID"},
		{unix.MOUNT_ATTR_NODEV, "NODEV"},
		{unix.MOUNT_ATTR_NOEXEC, "NOEXEC"},
		{unix.MOUNT_ATTR_IDMAP, "IDMAP"},
	} {
		if attr.Attr_set&a.bit != 0 {
			add(a.name)
		}
	}
	switch attr.Propagation {
	case unix.MS_PRIVATE:
		add("private")
	case unix.MS_SLAVE:
		add("slave")
	case unix.MS_SHARED:
		add("shared")
	}
	return s
}

// setIDMap maps the ids of the detached mount at fd. It must not be idmapped yet.
func setIDMap(fd int, u *UserNS, path string) error {
	err := setAttr(fd, false, unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(u.file.Fd())}, path)
	if err == nil || !refused(err) {
		return err
	}
	return &FeatureError{Feature: "an idmapped mount", Path: path, FS: fsType(fd), Err: err}
}

// moveMount attaches the mount at fd to name below dirfd; "" is dirfd itself.
func moveMount(fd, dirfd int, name string) error {
	flags := unix.MOVE_MOUNT_F_EMPTY_PATH
	if name == "" {
		flags |= unix.MOVE_MOUNT_T_EMPTY_PATH
	}
	if err := unix.MoveMount(fd, "", dirfd, name, flags); err != nil {
		return &Error{Call: "move_mount", Path: name, Err: err}
	}
	return nil
}

// fsType names the file system of fd for messages.
func fsType(fd int) string {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return ""
	}
	names := map[int64]string{
		unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs",
		unix.TMPFS_MAGIC: "tmpfs", unix.OVERLAYFS_SUPER_MAGIC: "overlay", unix.NFS_SUPER_MAGIC: "nfs",
		unix.PROC_SUPER_MAGIC: "proc", unix.SYSFS_MAGIC: "sysfs", unix.FUSE_SUPER_MAGIC: "fuse",
		unix.CGROUP2_SUPER_MAGIC: "cgroup2", unix.CGROUP_SUPER_MAGIC: "cgroup", unix.V9FS_MAGIC: "9p",
		unix.CEPH_SUPER_MAGIC: "ceph", unix.SMB2_SUPER_MAGIC: "cifs", unix.F2FS_SUPER_MAGIC: "f2fs",
		unix.DEVPTS_SUPER_MAGIC: "devpts",
	}
	if name, ok := names[int64(st.Type)]; ok {
		return name
	}
	return fmt.Sprintf("file system 0x%x", st.Type)
}

// file hands a raw fd to its new owner.
func file(fd int, name string) *os.File { return os.NewFile(uintptr(fd), name) }

// closing is a list of raw fds with one owner.
type closing []int

func (c closing) close() {
	for _, fd := range c {
		unix.Close(fd)
	}
}

// explain adds a cause or a remedy to err.
func explain(err error, hint string) error {
	return fmt.Errorf("%w: %s", err, hint)
}

var errClosed = errors.New("mount: the Mounter is closed")
