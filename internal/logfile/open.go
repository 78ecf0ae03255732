package logfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Modes as kubelets and other runtimes have them, so that log collectors which aren't root's find what they are used to.
// The umask narrows them, as it does a kubelet's.
const (
	dirMode  = 0o755
	fileMode = 0o640
)

// Open opens the log file, and makes it if it is absent: with the directories
// that lead to it. The file is open for writing, close-on-exec, its offset at
// its end, as pause wants it (proto.h, LOG). The caller closes it. What is no
// path of a log file, or leads to something else (a link, a fifo, a file with a
// second name), is ErrInvalid.
//
// It waits for the disk, on a frozen or dead one for ever: see [OpenContext].
func Open(logDir, logPath string) (*os.File, error) {
	f, err := open(logDir, logPath, true)
	if err != nil {
		return nil, err
	}
	return f.File, f.dir.Close()
}

func open(logDir, logPath string, makeDirs bool) (*Reopened, error) {
	names, err := parts(logDir, logPath)
	if err != nil {
		return nil, err
	}
	f, err := openBelow(logDir, names, makeDirs)
	if err != nil {
		return nil, fmt.Errorf("open log file %s/%s: %w", logDir, strings.Join(names, "/"), err)
	}
	return f, nil
}

func openBelow(logDir string, names []string, makeDirs bool) (*Reopened, error) {
	if makeDirs {
		if err := os.MkdirAll(logDir, dirMode); err != nil {
			return nil, err
		}
	}
	dir, err := os.OpenFile(logDir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	last := len(names) - 1
	for _, name := range names[:last] {
		next, err := openSubdirectory(dir, name, makeDirs)
		dir.Close()
		if err != nil {
			return nil, err
		}
		dir = next
	}
	f := &Reopened{dir: dir, name: names[last]}
	if f.File, f.made, err = openFile(dir, f.name); err != nil {
		dir.Close()
		return nil, err
	}
	return f, nil
}

// openSubdirectory opens a single name: whatever it is, it is in dir.
func openSubdirectory(dir *os.File, name string, makeIt bool) (*os.File, error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW
	fd, err := openAt(dir, name, flags, 0)
	if errors.Is(err, unix.ENOENT) && makeIt {
		if err := unix.Mkdirat(int(dir.Fd()), name, dirMode); err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, &os.PathError{Op: "mkdir", Path: name, Err: err}
		}
		fd, err = openAt(dir, name, flags, 0)
	}
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("%w: %q is no directory (%w)", ErrInvalid, name, err)
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// openFile opens what is there first and makes the file only after: so what exists is looked at before anything is changed.
func openFile(dir *os.File, name string) (_ *os.File, made bool, err error) {
	// O_NONBLOCK: a fifo without a reader is ENXIO then, and a device isn't waited for.
	const flags = unix.O_WRONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY
	fd, err := openAt(dir, name, flags, 0)
	if errors.Is(err, unix.ENOENT) {
		fd, err = openAt(dir, name, flags|unix.O_CREAT|unix.O_EXCL, fileMode)
		made = err == nil
		if errors.Is(err, unix.EEXIST) {
			// Someone was faster; what he made is looked at like any other.
			fd, err = openAt(dir, name, flags, 0)
		}
	}
	for _, other := range []unix.Errno{unix.ELOOP, unix.ENXIO, unix.EISDIR, unix.ENODEV} {
		if errors.Is(err, other) {
			return nil, false, fmt.Errorf("%w: %q is no regular file (%w)", ErrInvalid, name, err)
		}
	}
	if err != nil {
		return nil, false, &os.PathError{Op: "open", Path: name, Err: err}
	}
	file := os.NewFile(uintptr(fd), name)
	if err := accept(file); err != nil {
		file.Close()
		return nil, false, err
	}
	return file, made, nil
}

// accept refuses what is no log, makes writes wait for the disk again, and goes to the end.
func accept(file *os.File) error {
	fd := int(file.Fd())
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fmt.Errorf("%w: %q is no regular file (mode %06o)", ErrInvalid, file.Name(), st.Mode)
	}
	if st.Nlink > 1 {
		return fmt.Errorf("%w: %q is a file with %d names; what is logged would appear under the others too", ErrInvalid, file.Name(), st.Nlink)
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		return fmt.Errorf("clear O_NONBLOCK: %w", err)
	}
	if _, err := unix.Seek(fd, 0, io.SeekEnd); err != nil {
		return fmt.Errorf("seek to the end: %w", err)
	}
	return nil
}

func openAt(dir *os.File, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat2(int(dir.Fd()), name, &unix.OpenHow{
			Flags:   uint64(flags | unix.O_CLOEXEC),
			Mode:    uint64(mode),
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
		})
		if err != unix.EINTR {
			return fd, err
		}
	}
}
