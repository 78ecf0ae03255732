package image

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"
)

// openPrivate opens the directory at path as the root of the store, making it where it isn't there yet. It is the caller's alone (mode 0700): a
// wider mode, of an older podlet or of somebody's mkdir, is corrected and logged (CVE-2024-25621). A directory that belongs to another user is refused, and so is a link.
func openPrivate(path string) (*os.File, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make %s: %w", path, err)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("open %s: not a directory, or a symbolic link: give the directory itself: %w", path, err)
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	if err := makePrivate(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// openPrivateIn opens the directory name of root as openPrivate does.
func openPrivateIn(root *os.File, name string) (*os.File, error) {
	path := root.Name() + "/" + name
	if err := unix.Mkdirat(int(root.Fd()), name, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, &os.PathError{Op: "mkdir", Path: path, Err: err}
	}
	fd, err := unix.Openat(int(root.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open directory", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	if err := makePrivate(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func makePrivate(f *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return &os.PathError{Op: "fstat", Path: f.Name(), Err: err}
	}
	if int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d, not to %d: what lies in it can't be trusted; move it away", f.Name(), st.Uid, os.Geteuid())
	}
	if st.Mode&0o7777 == 0o700 {
		return nil
	}
	if err := f.Chmod(0o700); err != nil {
		return err
	}
	// A fresh one differs by the umask alone, and can only be narrower.
	if st.Mode&0o077 != 0 {
		slog.Warn("state directory was open to others, closed it", "path", f.Name(), "mode", fmt.Sprintf("%#o", st.Mode&0o7777))
	}
	return nil
}
