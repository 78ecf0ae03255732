package logfile

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Reopened is a log file after a rotation, open as [Open] leaves it.
type Reopened struct {
	*os.File
	dir  *os.File // O_PATH, where it is
	name string   // in dir
	made bool
}

// Reopen opens the log file after a rotation (CRI ReopenContainerLog). A rotated
// file was renamed, so it too makes the file; but if it fails, it makes nothing:
// no directory ever, and no file unless it can be used. The caller then leaves
// the container with the file it has, and withdraws this one if it finds no use
// for it. The caller closes it.
func Reopen(logDir, logPath string) (*Reopened, error) {
	return open(logDir, logPath, false)
}

// Close closes the file, which stays where it is.
func (f *Reopened) Close() error {
	return errors.Join(f.File.Close(), f.dir.Close())
}

// Withdraw takes the file away again if Reopen made it, nothing was written to it,
// and its name still leads to it. It is for the caller whose own caller waits: a
// kubelet that doesn't any more may put the rotated file back under that name at
// any moment.
func (f *Reopened) Withdraw() error {
	if !f.made {
		return nil
	}
	var mine, there unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &mine); err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	err := unix.Fstatat(int(f.dir.Fd()), f.name, &there, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "stat", Path: f.name, Err: err}
	}
	if mine.Size > 0 || mine.Dev != there.Dev || mine.Ino != there.Ino {
		return nil
	}
	if err := unix.Unlinkat(int(f.dir.Fd()), f.name, 0); err != nil {
		return &os.PathError{Op: "unlink", Path: f.name, Err: err}
	}
	return nil
}
