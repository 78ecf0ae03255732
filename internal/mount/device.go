package mount

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Device is a device node in a container's /dev.
type Device struct {
	// Path is its place below /dev, relative: "snd/timer".
	Path string
	// Mode is S_IFCHR or S_IFBLK with the permission bits.
	Mode uint32
	// Rdev is the device number (unix.Mkdev, unix.Major, unix.Minor).
	Rdev uint64
	// UID and GID own the node, as host ids.
	UID, GID uint32
}

// maxDevices bounds what one HostDevices call returns: a machine has some hundred nodes.
const maxDevices = 10000

// HostDevices reads the node at hostPath of the host for CRI's Device{host_path, container_path}; containerPath is
// absolute, below /dev. A directory stands for all the nodes in it and below, on the same file system; links in it are
// left out, so are other files, and "console", which is the container's own.
func HostDevices(hostPath, containerPath string) ([]Device, error) {
	rel, ok := strings.CutPrefix(filepath.Clean(containerPath), "/dev")
	if !ok || rel != "" && rel[0] != '/' {
		return nil, fmt.Errorf("device %s: container path %q is not below /dev", hostPath, containerPath)
	}
	rel = strings.TrimPrefix(rel, "/")
	root, err := filepath.EvalSymlinks(hostPath)
	if err != nil {
		return nil, fmt.Errorf("device %s: %w", hostPath, err)
	}
	var first unix.Stat_t
	if err := unix.Lstat(root, &first); err != nil {
		return nil, fmt.Errorf("device %s: %w", hostPath, err)
	}
	if first.Mode&unix.S_IFMT != unix.S_IFDIR {
		d, ok := deviceOf(&first, rel)
		if !ok || rel == "" {
			return nil, fmt.Errorf("device %s is neither a device node nor a directory of them", hostPath)
		}
		return []Device{d}, nil
	}
	var devices []Device
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			// Nodes come and go while we read.
			return nil
		}
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err == unix.ENOENT {
			return nil
		} else if err != nil {
			return &Error{Call: "lstat", Path: path, Err: err}
		}
		if st.Dev != first.Dev {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		below, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		d, ok := deviceOf(&st, filepath.Join(rel, below))
		if !ok || d.Path == "console" {
			return nil
		}
		if len(devices) == maxDevices {
			return fmt.Errorf("more than %d device nodes", maxDevices)
		}
		devices = append(devices, d)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("devices in %s: %w", hostPath, err)
	}
	return devices, nil
}

func deviceOf(st *unix.Stat_t, path string) (Device, bool) {
	kind := st.Mode & unix.S_IFMT
	d := Device{Path: path, Mode: kind | st.Mode&0o777, Rdev: st.Rdev, UID: st.Uid, GID: st.Gid}
	// A character device 0:0 is overlayfs's whiteout.
	return d, kind == unix.S_IFBLK || kind == unix.S_IFCHR && st.Rdev != 0
}

func (d *Device) check() error {
	if !filepath.IsLocal(d.Path) || filepath.Clean(d.Path) != d.Path || d.Path == "." {
		return fmt.Errorf("device %q: want a clean path below /dev", d.Path)
	}
	if kind := d.Mode & unix.S_IFMT; kind != unix.S_IFCHR && kind != unix.S_IFBLK {
		return fmt.Errorf("device %q: mode %#o is no device node", d.Path, d.Mode)
	}
	return nil
}

// makeAt makes the node as name in dirfd, a directory that only podlet can reach. The mode is exact, whatever podlet's umask is.
func (d *Device) makeAt(dirfd int, name string) error {
	if err := unix.Mknodat(dirfd, name, d.Mode, int(d.Rdev)); err != nil {
		return &Error{Call: "mknodat", Path: d.Path, Err: err}
	}
	if d.UID != 0 || d.GID != 0 {
		if err := unix.Fchownat(dirfd, name, int(d.UID), int(d.GID), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return &Error{Call: "fchownat", Path: d.Path, Err: err}
		}
	}
	if err := unix.Fchmodat(dirfd, name, d.Mode&0o777, 0); err != nil {
		return &Error{Call: "fchmodat", Path: d.Path, Err: err}
	}
	return nil
}

// openParent opens the directory of a path below root, making what is missing, mode 755, owned by uid and gid. No link is followed.
func openParent(root int, path string, uid, gid int) (int, error) {
	dir, err := unix.Openat(root, ".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &Error{Call: "openat", Path: path, Err: err}
	}
	parts := strings.Split(path, "/")
	for _, part := range parts[:len(parts)-1] {
		err := makeDir(dir, part, uid, gid)
		if err != nil && !errors.Is(err, os.ErrExist) {
			unix.Close(dir)
			return -1, err
		}
		next, err := unix.Openat(dir, part, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		unix.Close(dir)
		if err != nil {
			return -1, &Error{Call: "openat", Path: path, Err: err}
		}
		dir = next
	}
	return dir, nil
}

func makeDir(dirfd int, name string, uid, gid int) error {
	if err := unix.Mkdirat(dirfd, name, 0o755); err != nil {
		return &Error{Call: "mkdirat", Path: name, Err: err}
	}
	if uid != 0 || gid != 0 {
		if err := unix.Fchownat(dirfd, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return &Error{Call: "fchownat", Path: name, Err: err}
		}
	}
	if err := unix.Fchmodat(dirfd, name, 0o755, 0); err != nil {
		return &Error{Call: "fchmodat", Path: name, Err: err}
	}
	return nil
}
