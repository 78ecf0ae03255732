package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// make creates base in parent by create, which must fail with EEXIST where something is there; that is then removed: of several entries with one name the last counts.
func (u *unpacker) make(parent int, base string, create func() error) error {
	err := create()
	if err != unix.EEXIST {
		return err
	}
	if _, err := u.replace(parent, base); err != nil {
		return err
	}
	return create()
}

func (u *unpacker) file(parent int, base string, h *tar.Header, body io.Reader) error {
	fd := -1
	err := u.make(parent, base, func() (err error) {
		fd, err = openat2(parent, base, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW, uint32(h.Mode)&0o777, plain)
		return err
	})
	if err != nil {
		return os.NewSyscallError("create", err)
	}
	u.size.inodes++
	sparse := isSparse(h)
	if h.Size <= smallFileBytes && !sparse {
		u.keep.inTree(true)
		defer u.keep.inTree(false)
		return u.small.add(fd, h, body)
	}
	defer unix.Close(fd)
	if sparse {
		err = u.copySparse(fd, h, body)
	} else {
		u.keep.inTree(true)
		err = u.copy(fd, h.Size, body)
		u.keep.inTree(false)
	}
	if err != nil {
		return err
	}
	blocks, err := finishFile(fd, h)
	u.size.bytes += blocks * 512
	return err
}

// finishFile gives a file that was just written its owner, mode, attributes and times, and tells how many blocks of 512 bytes it takes.
func finishFile(fd int, h *tar.Header) (blocks int64, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, os.NewSyscallError("fstat", err)
	}
	if err := setOwnerMode(fd, &st, h.Uid, h.Gid, uint32(h.Mode)); err != nil {
		return 0, err
	}
	if len(h.PAXRecords) > 0 {
		if err := setXattrs(unix.Setxattr, procFD(fd), h, nil); err != nil {
			return 0, err
		}
		if err := unix.Fstat(fd, &st); err != nil {
			return 0, os.NewSyscallError("fstat", err)
		}
	}
	// By the fd itself (Linux 5.8): by a path of /proc the call takes five times as long.
	return st.Blocks, os.NewSyscallError("utimensat", unix.UtimesNanoAt(fd, "", times(h), unix.AT_EMPTY_PATH))
}

// copy writes the file in pieces as large as the buffer: most files are one write.
func (u *unpacker) copy(fd int, size int64, body io.Reader) error {
	since := 0
	for left := size; left > 0; {
		piece := u.buf[:min(left, int64(len(u.buf)))]
		if _, err := io.ReadFull(body, piece); err != nil {
			return invalid("content: %w", err)
		}
		if err := writeAll(fd, piece); err != nil {
			return err
		}
		left -= int64(len(piece))
		if since += len(piece); since >= 1<<20 {
			since = 0
			u.progress(u.size.entries)
		}
		if u.ctx.Err() != nil {
			return context.Cause(u.ctx)
		}
	}
	return nil
}

// copySparse leaves holes where the content is zero: the tar reader gives the zeros of a hole as if they stood in the archive.
func (u *unpacker) copySparse(fd int, h *tar.Header, body io.Reader) error {
	if u.sparse += h.Size; h.Size > maxSparseBytes || u.sparse > maxSparseBytes {
		return invalid("sparse files of more than %d bytes in one layer", int64(maxSparseBytes))
	}
	zero := make([]byte, len(u.buf))
	at := int64(0)
	for at < h.Size {
		n, err := io.ReadFull(body, u.buf[:min(int64(len(u.buf)), h.Size-at)])
		if err != nil {
			return invalid("sparse content: %w", err)
		}
		if !bytes.Equal(u.buf[:n], zero[:n]) {
			if _, err := unix.Seek(fd, at, io.SeekStart); err != nil {
				return os.NewSyscallError("lseek", err)
			}
			if err := writeAll(fd, u.buf[:n]); err != nil {
				return err
			}
		}
		at += int64(n)
		if u.ctx.Err() != nil {
			return context.Cause(u.ctx)
		}
	}
	return os.NewSyscallError("ftruncate", unix.Ftruncate(fd, h.Size))
}

func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

func writeAll(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := unix.Write(fd, p)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("write", err)
		}
		p = p[n:]
	}
	return nil
}

// directory makes a directory, or gives one that is there already the owner and mode of its own entry. whole is its path from the root, "" for the root itself.
func (u *unpacker) directory(parent int, base, whole string, h *tar.Header) error {
	fresh, hidden := false, false
	if whole != "" {
		err := unix.Mkdirat(parent, base, uint32(h.Mode)&0o777)
		fresh = err == nil
		if err == unix.EEXIST {
			hidden, fresh, err = u.makeRoomForDir(parent, base)
		}
		if err != nil {
			return os.NewSyscallError("mkdir", err)
		}
	}
	fd, err := openat2(parent, base, openDirFlags, 0, plain)
	if err != nil {
		return os.NewSyscallError("open directory", err)
	}
	dir := openDir{path: whole, fd: fd, times: times(h)}
	if err := u.finishDir(&dir, h, fresh, hidden); err != nil {
		unix.Close(fd)
		return err
	}
	return u.dirs.push(dir)
}

// finishDir does for the open directory what its entry says, or notes what has to wait.
func (u *unpacker) finishDir(dir *openDir, h *tar.Header, fresh, hidden bool) (err error) {
	if hidden {
		if err := setOpaque(dir.fd); err != nil {
			return err
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(dir.fd, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if fresh {
		u.count(&st)
	} else if dir.acl, err = u.dirs.takeACL(dir.fd); err != nil {
		return err
	}
	u.implicit.forget(&st)
	if err := setOwnerMode(dir.fd, &st, h.Uid, h.Gid, uint32(h.Mode)); err != nil {
		return err
	}
	if len(h.PAXRecords) == 0 {
		return nil
	}
	var acl []byte
	if err := setXattrs(unix.Setxattr, procFD(dir.fd), h, &acl); err != nil {
		return err
	}
	if len(acl) > 0 {
		dir.acl, u.dirs.acls = acl, true
	}
	return nil
}

// makeRoomForDir deals with what is where a directory goes: another directory stays.
func (u *unpacker) makeRoomForDir(parent int, base string) (hidden, fresh bool, err error) {
	var there unix.Stat_t
	if err := unix.Fstatat(parent, base, &there, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return false, false, err
	}
	if there.Mode&unix.S_IFMT == unix.S_IFDIR {
		return false, false, nil
	}
	old, err := u.replace(parent, base)
	if err != nil {
		return false, false, err
	}
	return isWhiteout(old), true, unix.Mkdirat(parent, base, 0o700)
}

func (u *unpacker) symlink(parent int, base string, h *tar.Header) error {
	if h.Linkname == "" || len(h.Linkname) > maxPathBytes || strings.IndexByte(h.Linkname, 0) >= 0 {
		return invalid("symbolic link to %s: want 1 to %d bytes without NUL", quote(h.Linkname), maxPathBytes)
	}
	err := u.make(parent, base, func() error { return unix.Symlinkat(h.Linkname, parent, base) })
	if err != nil {
		return os.NewSyscallError("symlink", err)
	}
	u.size.inodes++
	return u.setMetaAt(parent, base, h)
}

// link makes a hard link. The header's owner, mode and times are those of the file it names, which has them.
func (u *unpacker) link(parent int, base string, h *tar.Header) error {
	target, err := cleanName(h.Linkname)
	if err != nil {
		return invalid("hard link to %s: %w", quote(h.Linkname), err)
	}
	if target == "" {
		return invalid("hard link to the root directory")
	}
	fd, err := openat2(u.root, target, unix.O_PATH|unix.O_NOFOLLOW, 0, inRoot|unix.RESOLVE_NO_XDEV)
	if err != nil {
		return invalid("hard link to %s: no file of this layer: %w", quote(h.Linkname), err)
	}
	defer unix.Close(fd)
	var st, old unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR || isWhiteout(&st) {
		return invalid("hard link to %s: a directory or a whiteout", quote(h.Linkname))
	}
	if err := unix.Fstatat(parent, base, &old, unix.AT_SYMLINK_NOFOLLOW); err == nil && old.Ino == st.Ino {
		return nil // a link to itself, or the same link twice
	}
	err = u.make(parent, base, func() error { return unix.Linkat(fd, "", parent, base, unix.AT_EMPTY_PATH) })
	if err == unix.ENOENT {
		return invalid("hard link to %s: its own entry takes that away", quote(h.Linkname))
	}
	return os.NewSyscallError("link", err)
}

func (u *unpacker) node(parent int, base string, h *tar.Header) error {
	mode, dev := uint32(unix.S_IFIFO), 0
	if h.Typeflag != tar.TypeFifo {
		mode = unix.S_IFCHR
		if h.Typeflag == tar.TypeBlock {
			mode = unix.S_IFBLK
		}
		if h.Devmajor < 0 || h.Devmajor >= 1<<12 || h.Devminor < 0 || h.Devminor >= 1<<20 {
			return invalid("device %d:%d: want major 0 to 4095 and minor 0 to 1048575", h.Devmajor, h.Devminor)
		}
		if mode == unix.S_IFCHR && h.Devmajor == 0 && h.Devminor == 0 {
			return invalid("character device 0:0: overlayfs's own mark of a whiteout, which a layer writes as a file \".wh.NAME\"")
		}
		dev = int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor)))
	}
	err := u.make(parent, base, func() error { return unix.Mknodat(parent, base, mode|0o600, dev) })
	if err != nil {
		return os.NewSyscallError("mknod", err)
	}
	u.size.inodes++
	return u.setMetaAt(parent, base, h)
}

// setOwnerMode gives a fresh file or directory, of which st was read, its owner and mode: the owner first, since a change of it takes set-user-ID away. What is right already is left
// alone: each change is a transaction of the file system.
func setOwnerMode(fd int, st *unix.Stat_t, uid, gid int, mode uint32) error {
	mode &= 0o7777
	had := st.Mode & 0o7777
	if st.Uid != uint32(uid) || st.Gid != uint32(gid) {
		if err := unix.Fchown(fd, uid, gid); err != nil {
			return os.NewSyscallError("fchown", err)
		}
		had = ^mode
	}
	if had == mode {
		return nil
	}
	return os.NewSyscallError("fchmod", unix.Fchmod(fd, mode))
}

// setMetaAt is for what has no fd that can be written through: owner, attributes and times of base itself, never of what it may point to.
func (u *unpacker) setMetaAt(parent int, base string, h *tar.Header) error {
	if err := unix.Fchownat(parent, base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return os.NewSyscallError("lchown", err)
	}
	if h.Typeflag != tar.TypeSymlink {
		// chown took the set-ID bits of a node away.
		fd, err := openat2(parent, base, unix.O_PATH|unix.O_NOFOLLOW, 0, plain)
		if err != nil {
			return os.NewSyscallError("open", err)
		}
		err = unix.Chmod(procFD(fd), uint32(h.Mode)&0o7777)
		unix.Close(fd)
		if err != nil {
			return os.NewSyscallError("chmod", err)
		}
	}
	if err := setXattrs(unix.Lsetxattr, procFD(parent)+"/"+base, h, nil); err != nil {
		return err
	}
	return os.NewSyscallError("utimensat", unix.UtimesNanoAt(parent, base, times(h), unix.AT_SYMLINK_NOFOLLOW))
}

// times are access and modification time for utimensat(2).
func times(h *tar.Header) []unix.Timespec {
	access := h.AccessTime
	if access.IsZero() {
		access = h.ModTime
	}
	return []unix.Timespec{timespec(access), timespec(h.ModTime)}
}

func timespec(t time.Time) unix.Timespec {
	return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
}

// count adds a fresh inode to the layer's size.
func (u *unpacker) count(st *unix.Stat_t) {
	u.size.inodes++
	u.size.bytes += st.Blocks * 512
}

// replace takes away what a later entry replaces, and its size. It gives what was there.
func (u *unpacker) replace(parent int, base string) (*unix.Stat_t, error) {
	// What of it is still being written has to be complete, to be counted off.
	if err := u.small.settle(); err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(parent, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return nil, err
	}
	if !isWhiteout(&st) {
		// What was there, or what was reached through it, is needed to make the tar again.
		u.keep.drop("it says twice what is at one place")
	}
	// A link may be the way to a directory, too.
	u.dirs.stale = true
	return &st, u.remove(parent, base, &st)
}

func (u *unpacker) remove(parent int, base string, st *unix.Stat_t) error {
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		if st.Nlink == 1 {
			u.size.inodes--
			u.size.bytes -= st.Blocks * 512
		}
		return unix.Unlinkat(parent, base, 0)
	}
	if err := u.removeContent(parent, base); err != nil {
		return err
	}
	u.implicit.forget(st)
	u.size.inodes--
	u.size.bytes -= st.Blocks * 512
	return unix.Unlinkat(parent, base, unix.AT_REMOVEDIR)
}

func (u *unpacker) removeContent(parent int, base string) error {
	fd, err := openat2(parent, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0, plain)
	if err != nil {
		return err
	}
	dir := os.NewFile(uintptr(fd), base)
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(1024)
		for _, name := range names {
			var st unix.Stat_t
			if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				return err
			}
			if err := u.remove(fd, name, &st); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
