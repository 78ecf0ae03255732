package record

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

const privateMode = 0o700

// PrivateDir opens the directory path, which only podlet's user may enter, and
// makes it if it is absent (its parents too, with mode 0755). Owner and mode of
// a directory that was there are corrected, and that is logged: others may have
// put files into it, so whoever reads those must look at their owner. A link or
// another kind of file in its place is an error. The caller closes the file.
func PrivateDir(path string, logger *slog.Logger) (*os.File, error) {
	parentPath, name := filepath.Split(filepath.Clean(path))
	if name == "" || name == "." || name == ".." {
		return nil, fmt.Errorf("open state directory %q: the path must end in a name", path)
	}
	if parentPath == "" {
		parentPath = "."
	}
	if err := os.MkdirAll(parentPath, 0o755); err != nil {
		return nil, fmt.Errorf("make the parents of state directory %s: %w", path, err)
	}
	parent, err := os.OpenFile(parentPath, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the parent of state directory %s: %w", path, err)
	}
	defer parent.Close()
	return privateDirAt(parent, name, path, logger)
}

// privateDirAt is PrivateDir for name below parent; path is for words only.
func privateDirAt(parent *os.File, name, path string, logger *slog.Logger) (*os.File, error) {
	made := true
	if err := unix.Mkdirat(int(parent.Fd()), name, privateMode); errors.Is(err, unix.EEXIST) {
		made = false
	} else if err != nil {
		return nil, fmt.Errorf("make state directory %s: %w", path, err)
	}
	fd, err := retry(func() (int, error) {
		return unix.Openat(int(parent.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		return nil, fmt.Errorf("open state directory %s: it is a link or no directory; remove it: %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open state directory %s: %w", path, err)
	}
	dir := os.NewFile(uintptr(fd), path)
	if err := makePrivate(dir, made, logger); err != nil {
		dir.Close()
		return nil, err
	}
	return dir, nil
}

// makePrivate corrects dir's owner first: only then nobody else can widen the mode again.
func makePrivate(dir *os.File, made bool, logger *slog.Logger) error {
	fd := int(dir.Fd())
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("stat state directory %s: %w", dir.Name(), err)
	}
	uid, gid := os.Geteuid(), os.Getegid()
	if int(st.Uid) != uid || int(st.Gid) != gid {
		if err := unix.Fchown(fd, uid, gid); err != nil {
			return fmt.Errorf("give state directory %s from %d:%d to %d:%d: %w", dir.Name(), st.Uid, st.Gid, uid, gid, err)
		}
		if int(st.Uid) != uid {
			logger.Warn("state directory had another owner; corrected", "path", dir.Name(), "uid", st.Uid, "gid", st.Gid)
		}
	}
	if mode := st.Mode & 0o7777; mode != privateMode {
		if err := unix.Fchmod(fd, privateMode); err != nil {
			return fmt.Errorf("set mode %o of state directory %s: %w", privateMode, dir.Name(), err)
		}
		if !made {
			logger.Warn("state directory had a wrong mode; corrected", "path", dir.Name(), "mode", fmt.Sprintf("%04o", mode))
		}
	}
	return nil
}

// removeTree removes the directory path below dir with all that is in it. It follows no link.
func removeTree(dir *os.File, path string) error {
	root, err := os.OpenRoot("/proc/self/fd/" + strconv.Itoa(int(dir.Fd())))
	if err != nil {
		return err
	}
	defer root.Close()
	return root.RemoveAll(path)
}

// retry repeats a call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}
