package mount

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// DevConfig describes a container's /dev.
type DevConfig struct {
	// Devices are nodes beyond the standard ones. One with the path of a standard node or link takes its place; of several with one path the last counts.
	Devices []Device
	// Console makes the empty file "console", the mount point of the terminal's slave.
	Console bool
	// UserNS gives the standard nodes, links and directories to the pod's mapped root; nil: to root. Devices keep their own ids.
	UserNS *UserNS
}

const (
	devSize   = "65536k"
	devInodes = 16384
)

var standardDevices = []Device{
	{Path: "null", Mode: unix.S_IFCHR | 0o666, Rdev: unix.Mkdev(1, 3)},
	{Path: "zero", Mode: unix.S_IFCHR | 0o666, Rdev: unix.Mkdev(1, 5)},
	{Path: "full", Mode: unix.S_IFCHR | 0o666, Rdev: unix.Mkdev(1, 7)},
	{Path: "random", Mode: unix.S_IFCHR | 0o666, Rdev: unix.Mkdev(1, 8)},
	{Path: "urandom", Mode: unix.S_IFCHR | 0o666, Rdev: unix.Mkdev(1, 9)},
	{Path: "tty", Mode: unix.S_IFCHR | 0o666, Rdev: unix.Mkdev(5, 0)},
}

var standardLinks = []struct{ name, target string }{
	{"fd", "/proc/self/fd"},
	{"stdin", "/proc/self/fd/0"},
	{"stdout", "/proc/self/fd/1"},
	{"stderr", "/proc/self/fd/2"},
	{"ptmx", "pts/ptmx"},
	{"core", "/proc/kcore"},
}

// The mount points for devpts, the pod's /dev/shm and its message queues.
var standardDirs = []string{"pts", "shm", "mqueue"}

// Dev makes a container's /dev: a detached tmpfs, mode 755, nosuid, with at most 64 MiB and some 16,000 files, filled before anything but podlet can see
// it. No path of an image is looked up, so no image can redirect a node (CVE-2026-88264, CVE-2026-47766).
//
// Pods with a user namespace get true nodes as well, no bind mounts of the host's: what forbids nodes there is
// a superblock made inside the namespace, and this one is made here, in the initial one. The container can open them, but can make
// none (mknod(2) wants CAP_MKNOD in the initial namespace).
func Dev(c DevConfig) (*os.File, error) {
	uid, gid := 0, 0
	if c.UserNS != nil {
		var err error
		if uid, gid, err = c.UserNS.root(); err != nil {
			return nil, fmt.Errorf("/dev: %w", err)
		}
	}
	params := []param{
		{"source", "tmpfs"}, {"mode", "755"}, {"size", devSize},
		{"nr_inodes", strconv.Itoa(devInodes + 2*len(c.Devices))},
	}
	if c.UserNS != nil {
		params = append(params, param{"uid", strconv.Itoa(uid)}, param{"gid", strconv.Itoa(gid)})
	}
	fd, err := newFS("tmpfs", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_STRICTATIME, params)
	if err != nil {
		return nil, fmt.Errorf("/dev: %w", err)
	}
	if err := c.fill(fd, uid, gid); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("/dev: %w", err)
	}
	return file(fd, "/dev"), nil
}

func (c *DevConfig) fill(fd, uid, gid int) error {
	own := make(map[string]*Device, len(c.Devices))
	for i := range c.Devices {
		if err := c.Devices[i].check(); err != nil {
			return err
		}
		own[c.Devices[i].Path] = &c.Devices[i]
	}
	for _, d := range standardDevices {
		if own[d.Path] != nil {
			continue
		}
		d.UID, d.GID = uint32(uid), uint32(gid)
		if err := d.makeAt(fd, d.Path); err != nil {
			return err
		}
	}
	for _, l := range standardLinks {
		// A host's ptmx is a node as often as a link; the node looks for the devpts beside it, so it is as good.
		if own[l.name] != nil {
			continue
		}
		if err := makeLink(fd, l.name, l.target, uid, gid); err != nil {
			return err
		}
	}
	for _, name := range standardDirs {
		if err := makeDir(fd, name, uid, gid); err != nil {
			return err
		}
	}
	if c.Console {
		if err := makeFile(fd, "console", uid, gid); err != nil {
			return err
		}
	}
	for i := range c.Devices {
		d := &c.Devices[i]
		if own[d.Path] != d {
			continue
		}
		if err := d.makeBelow(fd, uid, gid); err != nil {
			return fmt.Errorf("device %s: %w", d.Path, err)
		}
	}
	return nil
}

// makeBelow makes the node at its path below root, with the directories on the way.
func (d *Device) makeBelow(root, uid, gid int) error {
	dir, err := openParent(root, d.Path, uid, gid)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	return d.makeAt(dir, d.Path[lastName(d.Path):])
}

// lastName is where the last name of a path begins.
func lastName(path string) int {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '/' {
			return i + 1
		}
	}
	return 0
}

func makeLink(dirfd int, name, target string, uid, gid int) error {
	if err := unix.Symlinkat(target, dirfd, name); err != nil {
		return &Error{Call: "symlinkat", Path: name, Err: err}
	}
	if uid == 0 && gid == 0 {
		return nil
	}
	if err := unix.Fchownat(dirfd, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &Error{Call: "fchownat", Path: name, Err: err}
	}
	return nil
}

// makeFile makes an empty file, a mount point; nobody but its owner needs to read it.
func makeFile(dirfd int, name string, uid, gid int) error {
	if err := unix.Mknodat(dirfd, name, unix.S_IFREG|0o600, 0); err != nil {
		return &Error{Call: "mknodat", Path: name, Err: err}
	}
	if uid == 0 && gid == 0 {
		return nil
	}
	if err := unix.Fchownat(dirfd, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &Error{Call: "fchownat", Path: name, Err: err}
	}
	return nil
}
