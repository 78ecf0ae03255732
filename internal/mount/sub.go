package mount

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Sub gives a detached mount of what path names in the detached mount mnt, with mnt's own attributes. The lookup is the kernel's, with mnt as
// the root directory (openat2(2), RESOLVE_IN_ROOT): no link in mnt, which may be a stranger's, leads out of it. isDir says whether it
// is a directory. A missing path is fs.ErrNotExist. mnt is the caller's to close, and good for nothing else afterwards.
func (m *Mounter) Sub(mnt *os.File, path string) (f *os.File, isDir bool, err error) {
	fd, isDir, err := m.sub(mnt, path)
	if err != nil {
		return nil, false, fmt.Errorf("%s in %s: %w", path, mnt.Name(), err)
	}
	return file(fd, path), isDir, nil
}

func (m *Mounter) sub(mnt *os.File, path string) (fd int, isDir bool, err error) {
	at, err := openInRoot(int(mnt.Fd()), path)
	if err != nil {
		return -1, false, err
	}
	defer unix.Close(at)
	var st unix.Stat_t
	if err := unix.Fstat(at, &st); err != nil {
		return -1, false, &Error{Call: "fstat", Path: path, Err: err}
	}
	isDir = st.Mode&unix.S_IFMT == unix.S_IFDIR
	ok, err := m.detached(cloneDetached)
	if err != nil {
		return -1, false, err
	}
	if ok {
		fd, err = cloneTree(at, "", false, path)
	} else {
		fd, err = m.cloneAtBench(mnt, at, path)
	}
	return fd, isDir, err
}

// openInRoot opens path O_PATH as a process would whose root directory is root.
func openInRoot(root int, path string) (int, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	// EAGAIN is what a rename anywhere on the machine makes of a "..", and the caller's to repeat.
	const most = 1000
	for try := 0; ; try++ {
		fd, err := unix.Openat2(root, path, &how)
		if err == nil {
			return fd, nil
		}
		if !errors.Is(err, unix.EINTR) && (!errors.Is(err, unix.EAGAIN) || try == most) {
			return -1, &Error{Call: "openat2", Key: "RESOLVE_IN_ROOT", Path: path, Err: err}
		}
	}
}

// cloneAtBench clones at, which lies in mnt, for kernels that clone only what is attached.
func (m *Mounter) cloneAtBench(mnt *os.File, at int, path string) (fd int, err error) {
	w, err := m.workshop()
	if err != nil {
		return -1, err
	}
	fd = -1
	err = w.do(func() error {
		return atBench(func() error {
			if err := moveMount(int(mnt.Fd()), unix.AT_FDCWD, "m"); err != nil {
				return err
			}
			fd, err = cloneTree(at, "", false, path)
			return err
		})
	})
	if err != nil && fd >= 0 {
		unix.Close(fd)
		fd = -1
	}
	return fd, err
}
