package mount

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// BindOptions says what a bind mount is like; the words are CRI's (Mount) and the OCI runtime specification's.
type BindOptions struct {
	// Recursive takes the source's submounts along ("rbind", what every CRI mount is).
	Recursive bool
	// ReadOnly makes the mount itself read-only; submounts keep what they have.
	ReadOnly bool
	// RecursiveReadOnly makes the submounts read-only too (CRI Mount.recursive_read_only, KEP-3857). Needs ReadOnly, and
	// the private propagation: a mount that arrives later would be writable.
	RecursiveReadOnly bool
	Propagation       Propagation
	// UserNS maps the mount's ids (KEP-127); submounts keep theirs, as with the OCI option "idmap". nil: ids as on disk.
	UserNS *UserNS
	// NoSuid, NoDev and NoExec are set on the mount itself.
	NoSuid, NoDev, NoExec bool
}

// Bind clones what is at source on the host, at this moment, and returns the detached mount; the caller closes it.
// isDir says whether the source is a directory, since the mount point must be of the same kind. Links in source are followed. The source is opened
// once: what is checked is what is mounted.
//
// A missing source is fs.ErrNotExist, a source whose propagation doesn't allow what was asked for a *PropagationError,
// a file system that can't be idmapped a *FeatureError. The call blocks as long as a lookup of source does: on a dead network file system, for ever.
func Bind(source string, o BindOptions) (f *os.File, isDir bool, err error) {
	if o.RecursiveReadOnly && (!o.ReadOnly || o.Propagation != Private) {
		return nil, false, fmt.Errorf("bind %s: recursive read-only needs read-only and private propagation", source)
	}
	src, err := openPath(source)
	if err != nil {
		return nil, false, fmt.Errorf("bind %s: %w", source, err)
	}
	defer unix.Close(src)
	var st unix.Stat_t
	if err := unix.Fstat(src, &st); err != nil {
		return nil, false, fmt.Errorf("bind %s: %w", source, &Error{Call: "fstat", Path: source, Err: err})
	}
	if err := checkPropagation(src, source, o.Propagation); err != nil {
		return nil, false, fmt.Errorf("bind %s: %w", source, err)
	}
	fd, err := bindFD(src, source, o)
	if err != nil {
		return nil, false, fmt.Errorf("bind %s: %w", source, err)
	}
	return file(fd, source), st.Mode&unix.S_IFMT == unix.S_IFDIR, nil
}

// CgroupBind clones the cgroup directory dir (an O_PATH fd will do) for a container's /sys/fs/cgroup: nosuid, nodev, noexec, and read-only if
// asked. dir stays the caller's.
func CgroupBind(dir *os.File, readOnly bool) (*os.File, error) {
	fd, err := bindFD(int(dir.Fd()), dir.Name(), BindOptions{ReadOnly: readOnly, NoSuid: true, NoDev: true, NoExec: true})
	if err != nil {
		return nil, fmt.Errorf("bind cgroup %s: %w", dir.Name(), err)
	}
	return file(fd, dir.Name()), nil
}

func bindFD(src int, source string, o BindOptions) (int, error) {
	fd, err := cloneTree(src, "", o.Recursive, source)
	if errors.Is(err, unix.EINVAL) {
		return -1, explain(err, "its mount may be unbindable, or it pins a mount namespace")
	}
	if err != nil {
		return -1, err
	}
	if err := o.apply(fd, source); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// apply: what concerns submounts first, in one call; then what is for the top mount alone.
func (o BindOptions) apply(fd int, source string) error {
	var top uint64
	for _, a := range []struct {
		on   bool
		attr uint64
	}{
		{o.ReadOnly, unix.MOUNT_ATTR_RDONLY}, {o.NoSuid, unix.MOUNT_ATTR_NOSUID},
		{o.NoDev, unix.MOUNT_ATTR_NODEV}, {o.NoExec, unix.MOUNT_ATTR_NOEXEC},
	} {
		if a.on {
			top |= a.attr
		}
	}
	all := unix.MountAttr{Propagation: o.Propagation.flag()}
	if !o.Recursive {
		all.Attr_set, top = top, 0
	} else if o.RecursiveReadOnly {
		all.Attr_set = unix.MOUNT_ATTR_RDONLY
	}
	if err := setAttr(fd, o.Recursive, all, source); err != nil {
		return err
	}
	if top != 0 {
		if err := setAttr(fd, false, unix.MountAttr{Attr_set: top}, source); err != nil {
			return err
		}
	}
	if o.UserNS != nil {
		return setIDMap(fd, o.UserNS, source)
	}
	return nil
}
