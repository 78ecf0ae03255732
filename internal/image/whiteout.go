package image

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// A layer's tar says what is gone by files with special names (OCI image specification, layer.md); overlayfs wants a character device 0:0 in the place of
// what is gone, and an extended attribute on a directory that hides what the layers below have in it (Documentation/filesystems/overlayfs.rst).
const (
	whiteoutPrefix = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
	// whiteoutMeta begins the names of AUFS's own files, which mean nothing to anyone else.
	whiteoutMeta = ".wh..wh."

	opaqueXattr = "trusted.overlay.opaque"
)

// whiteout translates the entry base in parent. It applies to the layers below alone: what this layer itself has stays, whether its entry came before or comes after.
func (u *unpacker) whiteout(parent int, base string) error {
	if base == whiteoutOpaque {
		return u.opaque(parent)
	}
	if strings.HasPrefix(base, whiteoutMeta) {
		return nil
	}
	name := strings.TrimPrefix(base, whiteoutPrefix)
	if name == "" || name == "." || name == ".." {
		return invalid("whiteout of nothing")
	}
	err := unix.Mknodat(parent, name, unix.S_IFCHR, 0)
	if err == nil {
		u.size.inodes++
		return nil
	}
	if err != unix.EEXIST {
		return os.NewSyscallError("mknod of a whiteout", err)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(parent, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return os.NewSyscallError("stat", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	fd, err := openat2(parent, name, openDirFlags, 0, plain)
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	defer unix.Close(fd)
	return u.hide(fd)
}

// hide makes a directory opaque. Nothing of the layers below is seen in it, nor is its mode theirs.
func (u *unpacker) hide(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	u.implicit.forget(&st)
	return setOpaque(fd)
}

// opaque hides what the layers below have in the directory. overlayfs doesn't look for the mark on a layer's root: there the layers below are left out of the mount instead.
func (u *unpacker) opaque(dir int) error {
	var st, root unix.Stat_t
	if err := unix.Fstat(dir, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if err := unix.Fstat(u.root, &root); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if st.Ino == root.Ino {
		u.size.opaqueRoot = true
		return nil
	}
	return setOpaque(dir)
}

func setOpaque(fd int) error {
	// A layer may repeat it a million times, and to write it is a transaction of the file system.
	if isOpaque(fd) {
		return nil
	}
	if err := unix.Setxattr(procFD(fd), opaqueXattr, []byte("y"), 0); err != nil {
		return fmt.Errorf("mark a directory opaque (setxattr %s; the store's file system must have trusted xattrs): %w", opaqueXattr, err)
	}
	return nil
}

func isOpaque(fd int) bool {
	var value [2]byte
	n, err := unix.Getxattr(procFD(fd), opaqueXattr, value[:])
	return err == nil && string(value[:n]) == "y"
}

func isWhiteout(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}

// replaceWhiteout: the layer hides a directory of the layers below and has one of that name itself.
func (u *unpacker) replaceWhiteout(at int, name string) error {
	if err := unix.Unlinkat(at, name, 0); err != nil {
		return os.NewSyscallError("unlink", err)
	}
	u.size.inodes--
	if err := unix.Mkdirat(at, name, 0o755); err != nil {
		return os.NewSyscallError("mkdir", err)
	}
	fd, err := openat2(at, name, openDirFlags, 0, plain)
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	defer unix.Close(fd)
	return setOpaque(fd)
}
