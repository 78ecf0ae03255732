package image

import (
	"archive/tar"
	"bufio"
	"encoding/binary"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// lateDirs are what directories get once nothing more goes into them: the modification time, which each new name in them would change, and the
// default ACL, which new files would inherit. A layer may have millions of directories with long names, so they wait in an unlinked file.
type lateDirs struct {
	f   *os.File
	w   *bufio.Writer
	rec []byte
	n   int
}

// newLateDirs makes the file in root, where nothing is yet.
func newLateDirs(root int) (*lateDirs, error) {
	const name = "late"
	fd, err := openat2(root, name, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|unix.O_NOFOLLOW, 0o600, plain)
	if err != nil {
		return nil, os.NewSyscallError("create", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if err := unix.Unlinkat(root, name, 0); err != nil {
		f.Close()
		return nil, os.NewSyscallError("unlink", err)
	}
	return &lateDirs{f: f, w: bufio.NewWriterSize(f, 64<<10)}, nil
}

func (l *lateDirs) close() { l.f.Close() }

func (l *lateDirs) add(path string, mtime unix.Timespec, acl []byte) error {
	l.rec = binary.AppendUvarint(l.rec[:0], uint64(len(path)))
	l.rec = append(l.rec, path...)
	l.rec = binary.AppendVarint(l.rec, mtime.Sec)
	l.rec = binary.AppendVarint(l.rec, mtime.Nsec)
	l.rec = binary.AppendUvarint(l.rec, uint64(len(acl)))
	l.rec = append(l.rec, acl...)
	l.n++
	_, err := l.w.Write(l.rec)
	return err
}

// apply gives each directory what waits for it, in the order of their entries, so that of several for one directory the last counts.
func (l *lateDirs) apply(root int) error {
	if err := l.w.Flush(); err != nil {
		return err
	}
	if _, err := l.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	r := bufio.NewReaderSize(l.f, 64<<10)
	for range l.n {
		if err := l.applyNext(r, root); err != nil {
			return err
		}
	}
	return nil
}

func (l *lateDirs) applyNext(r *bufio.Reader, root int) error {
	path, err := readBytes(r)
	if err != nil {
		return err
	}
	sec, err := binary.ReadVarint(r)
	if err != nil {
		return err
	}
	nsec, err := binary.ReadVarint(r)
	if err != nil {
		return err
	}
	acl, err := readBytes(r)
	if err != nil {
		return err
	}
	if len(path) == 0 {
		path = []byte(".")
	}
	fd, err := openat2(root, string(path), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0, inRoot|unix.RESOLVE_NO_XDEV)
	if notThere(err) {
		return nil // a later entry took its place
	}
	if err != nil {
		return os.NewSyscallError("open directory", err)
	}
	defer unix.Close(fd)
	if len(acl) > 0 {
		if err := setXattr(unix.Setxattr, procFD(fd), defaultACL, acl, tar.TypeDir); err != nil {
			return err
		}
	}
	at := unix.Timespec{Sec: sec, Nsec: nsec}
	return os.NewSyscallError("utimensat", unix.UtimesNanoAt(fd, "", []unix.Timespec{at, at}, unix.AT_EMPTY_PATH))
}

func readBytes(r *bufio.Reader) ([]byte, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	_, err = io.ReadFull(r, b)
	return b, err
}
