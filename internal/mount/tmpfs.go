package mount

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// TmpfsConfig describes a tmpfs (tmpfs(5)).
type TmpfsConfig struct {
	// Size is the limit of its content in bytes, Inodes of its files and directories; both must be positive: a tmpfs without bound is half of
	// the machine's memory.
	Size, Inodes int64
	// Mode is the root directory's: permission and sticky bits.
	Mode uint32
	// UID and GID own the root directory, as host ids.
	UID, GID int
	// ReadOnly, NoSuid, NoDev and NoExec are the mount's flags.
	ReadOnly, NoSuid, NoDev, NoExec bool
}

// Tmpfs makes a detached tmpfs.
func Tmpfs(c TmpfsConfig) (*os.File, error) {
	if c.Size <= 0 || c.Inodes <= 0 || c.UID < 0 || c.GID < 0 || c.Mode&^0o7777 != 0 {
		return nil, fmt.Errorf("tmpfs: size %d, inodes %d, mode %#o, owner %d:%d: want positive bounds, permission bits and host ids", c.Size, c.Inodes, c.Mode, c.UID, c.GID)
	}
	params := []param{
		{"source", "tmpfs"},
		{"size", strconv.FormatInt(c.Size, 10)},
		{"nr_inodes", strconv.FormatInt(c.Inodes, 10)},
		{"mode", strconv.FormatUint(uint64(c.Mode), 8)},
	}
	if c.UID != 0 || c.GID != 0 {
		params = append(params, param{"uid", strconv.Itoa(c.UID)}, param{"gid", strconv.Itoa(c.GID)})
	}
	attrs := 0
	for _, a := range []struct {
		on   bool
		attr int
	}{
		{c.ReadOnly, unix.MOUNT_ATTR_RDONLY}, {c.NoSuid, unix.MOUNT_ATTR_NOSUID},
		{c.NoDev, unix.MOUNT_ATTR_NODEV}, {c.NoExec, unix.MOUNT_ATTR_NOEXEC},
	} {
		if a.on {
			attrs |= a.attr
		}
	}
	fd, err := newFS("tmpfs", attrs, params)
	if err != nil {
		return nil, err
	}
	return file(fd, "tmpfs"), nil
}
