package pod

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// layerWalk counts one writable layer, a directory's page at a time.
//
// The container owns the tree and may do to it what it likes meanwhile: nest directories a million deep, fill one with a million others, swap them
// for links, move them to where the walk isn't any more. So the walk follows no link, holds one fd, goes up by ".." and checks that it came to where it
// came from, and remembers of each directory above it a place in it and not a list.
type layerWalk struct {
	c     *Container
	dir   string
	began time.Time
	// final: the container had ended before the walk began.
	final  bool
	opened bool
	at     int // the directory that is read; -1 before the first step and after the last
	id     fileID
	above  []place
	// left is what was read of at and not looked at yet.
	left  []byte
	page  [8 << 10]byte
	bytes float64
	files float64
}

type fileID struct{ dev, ino uint64 }

// place is a directory, and how far it has been read (getdents64(2)'s d_off).
type place struct {
	fileID
	offset int64
}

// layerDepth bounds the memory of a walk: 1.5 MB. What is nested deeper isn't counted.
const layerDepth = 1 << 16

// endedBefore is how long a container must have ended before its count is its last: its mounts go a moment after its process.
const endedBefore = time.Second

func newLayerWalk(c *Container) *layerWalk {
	now := time.Now()
	st := c.status.Load()
	return &layerWalk{c: c, dir: c.pod.rt.upperDir(c.id), began: now, at: -1, final: st.State == Exited && now.Sub(st.Finished) >= endedBefore}
}

func (w *layerWalk) usage() *LayerUsage {
	return &LayerUsage{Bytes: uint64(math.Round(w.bytes)), Inodes: uint64(math.Round(w.files)), Time: w.began}
}

func (w *layerWalk) close() {
	if w.at >= 0 {
		unix.Close(w.at)
		w.at = -1
	}
}

const walkDir = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_NOATIME | unix.O_CLOEXEC

// step reads on until the end of a page, or until it has entered or left a directory; more: it isn't done.
func (w *layerWalk) step() (more bool, err error) {
	if !w.opened {
		fd, err := unix.Open(w.dir, walkDir, 0)
		if err != nil {
			return false, err
		}
		w.opened, w.at = true, fd
		st, err := w.look()
		if err != nil {
			return false, err
		}
		w.add(&st)
	}
	if len(w.left) == 0 {
		n, err := unix.Getdents(w.at, w.page[:])
		if errors.Is(err, unix.EINTR) {
			return true, nil
		}
		if err != nil {
			return false, fmt.Errorf("read a directory: %w", err)
		}
		if n == 0 {
			return w.up()
		}
		w.left = w.page[:n]
	}
	for len(w.left) > 0 {
		entered, err := w.entry()
		if err != nil || entered {
			return err == nil, err
		}
	}
	return true, nil
}

// look says which directory w is at.
func (w *layerWalk) look() (st unix.Stat_t, err error) {
	if err := unix.Fstat(w.at, &st); err != nil {
		return st, fmt.Errorf("stat a directory: %w", err)
	}
	w.id = fileID{st.Dev, st.Ino}
	return st, nil
}

// entry counts the next entry of the page, and enters it if it is a directory. One that is gone again isn't counted.
func (w *layerWalk) entry() (entered bool, err error) {
	// struct linux_dirent64: ino, off, reclen, type, name.
	const nameAt = 19
	if len(w.left) < nameAt {
		return false, errors.New("read a directory: a page that is cut off")
	}
	offset, length := int64(binary.NativeEndian.Uint64(w.left[8:])), int(binary.NativeEndian.Uint16(w.left[16:]))
	if length < nameAt || length > len(w.left) {
		return false, errors.New("read a directory: an entry that is cut off")
	}
	name := unix.ByteSliceToString(w.left[nameAt:length])
	w.left = w.left[length:]
	if name == "." || name == ".." {
		return false, nil
	}
	var st unix.Stat_t
	if err := unix.Fstatat(w.at, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return false, ignoreGone(err)
	}
	w.add(&st)
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || len(w.above) >= layerDepth {
		return false, nil
	}
	fd, err := unix.Openat(w.at, name, walkDir, 0)
	if err != nil {
		return false, ignoreGone(err)
	}
	w.above = append(w.above, place{w.id, offset})
	w.close()
	w.at, w.left = fd, nil
	_, err = w.look()
	return true, err
}

// ignoreGone: what was removed, or became something else, between two looks at it, is no error.
func ignoreGone(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	return fmt.Errorf("look at a file: %w", err)
}

// add counts one name of a file.
func (w *layerWalk) add(st *unix.Stat_t) {
	names := 1.0
	if st.Mode&unix.S_IFMT != unix.S_IFDIR && st.Nlink > 1 {
		// All of a file's names are in this layer, so each counts for its part of the file, and none need be remembered.
		names = float64(st.Nlink)
	}
	w.bytes += float64(st.Blocks) * 512 / names
	w.files += 1 / names
}

// up goes back to where the directory was entered from.
func (w *layerWalk) up() (more bool, err error) {
	if len(w.above) == 0 {
		return false, nil
	}
	from := w.above[len(w.above)-1]
	w.above = w.above[:len(w.above)-1]
	fd, err := unix.Openat(w.at, "..", walkDir, 0)
	if err != nil {
		return false, fmt.Errorf("open a directory's parent: %w", err)
	}
	w.close()
	w.at, w.left = fd, nil
	if _, err := w.look(); err != nil {
		return false, err
	}
	if w.id != from.fileID {
		return false, errMoved
	}
	if _, err := unix.Seek(w.at, from.offset, unix.SEEK_SET); err != nil {
		return false, fmt.Errorf("go on with a directory: %w", err)
	}
	return true, nil
}
