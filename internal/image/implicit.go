package image

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"podlet/internal/mount"
)

// A layer's tar may hold "tmp/x" and no entry for "tmp", as some builders write it. Applied to a mounted tree, the directory of the layers below is meant, with its mode of 1777;
// unpacked into a directory of its own, as here, "tmp" has to be made, and would hide that mode from everybody. So such directories are noted while the
// layer is unpacked, and get what the layers below say once these are there: when the first image is made of the layer. (A layer shared by images that disagree
// on it follows the first.)

// implicitDirs are the directories of one layer without an entry: by their inodes, their paths from the layer's root, as the kernel gives them: "/tmp".
type implicitDirs struct {
	paths map[uint64]string
	bytes int
}

// add notes the directory open at fd. Beyond the bound nothing is noted: such a directory stays root's, mode 755.
func (d *implicitDirs) add(fd int, st *unix.Stat_t) error {
	path, err := pathIn(fd)
	if err != nil {
		return err
	}
	if d.bytes += len(path); d.bytes > maxImplicitBytes {
		return nil
	}
	if d.paths == nil {
		d.paths = map[uint64]string{}
	}
	d.paths[st.Ino] = path
	return nil
}

// forget: the directory has an entry of its own, hides what is below it, or goes.
func (d *implicitDirs) forget(st *unix.Stat_t) { delete(d.paths, st.Ino) }

// pathIn gives the path of the directory open at fd from the layer's root. By links a tar could go deeper than any path is long: what is there
// couldn't be named by anyone, so it is refused.
func pathIn(fd int) (string, error) {
	path, err := os.Readlink(procFD(fd))
	if errors.Is(err, unix.ENAMETOOLONG) {
		return "", invalid("leads to a directory deeper than %d bytes", maxPathBytes)
	}
	return path, err
}

// list gives the paths, those of parents before those of children, as bytes: they needn't be UTF-8.
func (d *implicitDirs) list() [][]byte {
	var all [][]byte
	for _, p := range slices.Sorted(maps.Values(d.paths)) {
		all = append(all, []byte(p))
	}
	return all
}

// settleLayers gives the layers' implicit directories what the layers below say. Layers come lowest first and are pinned by the caller.
func (s *Store) settleLayers(layers []Digest) error {
	for i, id := range layers {
		s.mu.Lock()
		l := s.mu.layers[id]
		open := l != nil && len(l.Implicit) > 0
		s.mu.Unlock()
		if !open {
			continue
		}
		if err := s.settleLayer(l, layers[:i]); err != nil {
			return fmt.Errorf("layer %s: directories without an entry: %w", id, err)
		}
	}
	return nil
}

func (s *Store) settleLayer(l *layerState, below []Digest) error {
	s.commit.Lock()
	defer s.commit.Unlock()
	s.mu.Lock()
	implicit := l.Implicit
	dirs := s.layerDirsLocked(below)
	settled := l.layerRecord
	s.mu.Unlock()
	if len(implicit) == 0 {
		return nil // another import was first
	}
	// What changes now has to reach the disk before the layer counts as durable again.
	if err := s.root.Remove(l.dir() + "/" + fileDurable); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	s.mu.Lock()
	l.durable, l.changes = false, l.changes+1
	s.mu.Unlock()
	if len(dirs) > 0 && !l.OpaqueRoot {
		if err := s.copyDirs(l, dirs, implicit); err != nil {
			return err
		}
	}
	s.step("layer settled")
	settled.Implicit = nil
	if err := writeRecord(s.root, l.dir()+"/"+fileRecord, s.newTmp(), &settled); err != nil {
		return err
	}
	s.mu.Lock()
	l.Implicit = nil
	s.mu.Unlock()
	return nil
}

func (s *Store) copyDirs(l *layerState, below []string, paths [][]byte) error {
	from, err := s.mounter.Overlay(mount.OverlayConfig{Lower: below, ReadOnly: true})
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := s.openTree(l.dir() + "/" + dirDiff)
	if err != nil {
		return err
	}
	defer to.Close()
	for _, p := range paths {
		if err := copyDir(int(from.Fd()), int(to.Fd()), string(p)); err != nil {
			return fmt.Errorf("%s: %w", quote(string(p)), err)
		}
	}
	return nil
}

// copyDir gives the directory path of to the owner, mode, times and attributes of the one of from; where either isn't there nothing is to be done.
func copyDir(from, to int, path string) error {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW
	src, err := openat2(from, path, flags, 0, inRoot)
	if notThere(err) {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("open below", err)
	}
	defer unix.Close(src)
	dst, err := openat2(to, path, flags, 0, inRoot|unix.RESOLVE_NO_XDEV)
	if notThere(err) {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	defer unix.Close(dst)
	if hides, err := hiddenAbove(to, path); hides || err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(src, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if err := unix.Fchown(dst, int(st.Uid), int(st.Gid)); err != nil {
		return os.NewSyscallError("fchown", err)
	}
	if err := unix.Fchmod(dst, st.Mode&0o7777); err != nil {
		return os.NewSyscallError("fchmod", err)
	}
	if err := copyXattrs(src, dst); err != nil {
		return err
	}
	return os.NewSyscallError("utimensat", unix.UtimesNanoAt(unix.AT_FDCWD, procFD(dst), []unix.Timespec{st.Atim, st.Mtim}, 0))
}

// hiddenAbove reports whether the layer hides the layers below in some directory above path: what they have at path is then another directory.
func hiddenAbove(to int, path string) (bool, error) {
	for {
		path = path[:max(strings.LastIndexByte(path, '/'), 0)]
		if path == "" {
			return false, nil
		}
		fd, err := openat2(to, path, openDirFlags, 0, inRoot|unix.RESOLVE_NO_XDEV)
		if err != nil {
			return false, os.NewSyscallError("open", err)
		}
		opaque := isOpaque(fd)
		unix.Close(fd)
		if opaque {
			return true, nil
		}
	}
}

// copyXattrs copies what setXattrs lets a layer have.
func copyXattrs(src, dst int) error {
	list := make([]byte, 64<<10) // XATTR_LIST_MAX
	n, err := unix.Flistxattr(src, list)
	if err != nil {
		return os.NewSyscallError("flistxattr", err)
	}
	value := make([]byte, 64<<10) // XATTR_SIZE_MAX
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00") {
		if !layerXattr(name) {
			continue
		}
		n, err := unix.Fgetxattr(src, name, value)
		if err != nil {
			return os.NewSyscallError("fgetxattr "+name, err)
		}
		if err := unix.Fsetxattr(dst, name, value[:n], 0); err != nil {
			return os.NewSyscallError("fsetxattr "+name, err)
		}
	}
	return nil
}

func notThere(err error) bool { return err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ELOOP }
