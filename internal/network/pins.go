package network

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// DefaultDir is where ip-netns(8) and CNI runtimes keep the names of network namespaces.
const DefaultDir = "/var/run/netns"

// errInvalidID says that an id is not one of podlet's: 64 lowercase hexadecimal digits.
var errInvalidID = errors.New("invalid pod id")

// Pins is a directory of pinned network namespaces. Its methods are safe for
// concurrent use with different ids. Others may have their own in it: those are
// not touched, since no other runtime names them by 64 hexadecimal digits.
type Pins struct {
	path string
	// early is the directory as it was when the Pins were opened. The first `ip netns add` on a machine without systemd
	// mounts the directory onto itself: what is pinned after that must go on top, to be seen, and what was pinned before
	// can only be reached below.
	early *os.File
}

// OpenPins opens the directory path, made with mode 0755 if it is absent. The caller closes the Pins.
func OpenPins(path string) (*Pins, error) {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("make the directory of pinned network namespaces: %w", err)
	}
	dir, err := openDir(path)
	if err != nil {
		return nil, err
	}
	return &Pins{path, dir}, nil
}

func openDir(path string) (*os.File, error) {
	dir, err := os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the directory of pinned network namespaces: %w", err)
	}
	return dir, nil
}

// Close closes the directory. The pins stay.
func (p *Pins) Close() error { return p.early.Close() }

// Path is where the namespace of the pod id is, or would be, pinned.
func (p *Pins) Path(id string) string { return p.path + "/" + id }

// Pin gives the network namespace netns, which stays the caller's, the name id.
// A pin of the same namespace is success, one of another namespace
// fs.ErrExist. A Pin that fails leaves nothing.
func (p *Pins) Pin(id string, netns *os.File) error {
	if !validID(id) {
		return fmt.Errorf("pin a network namespace: %w: %.80q", errInvalidID, id)
	}
	want, err := namespaceInode(netns)
	if err != nil {
		return fmt.Errorf("pin %s: %w", p.Path(id), err)
	}
	dir, err := openDir(p.path)
	if err != nil {
		return err
	}
	defer dir.Close()
	file, made, err := mountPoint(dir, id)
	if err != nil {
		return fmt.Errorf("make the mount point %s: %w", p.Path(id), err)
	}
	defer file.Close()
	if !made {
		pinned, err := namespaceInode(file)
		if err == nil && pinned == want {
			return nil
		}
		if err == nil {
			return fmt.Errorf("pin %s: namespace %d is pinned there, not %d: %w", p.Path(id), pinned, want, os.ErrExist)
		}
		// No namespace: a Pin was cut short between the file and the mount.
	}
	if err := attach(netns, file); err != nil {
		if made {
			unix.Unlinkat(int(dir.Fd()), id, 0)
		}
		return fmt.Errorf("mount the network namespace on %s: %w", p.Path(id), err)
	}
	return nil
}

// mountPoint opens the file id in dir; made: it is new.
func mountPoint(dir *os.File, id string) (file *os.File, made bool, err error) {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	fd, err := unix.Openat(int(dir.Fd()), id, flags|unix.O_CREAT|unix.O_EXCL, 0)
	made = err == nil
	if errors.Is(err, unix.EEXIST) {
		fd, err = unix.Openat(int(dir.Fd()), id, flags, 0)
	}
	if err != nil {
		return nil, false, err
	}
	return os.NewFile(uintptr(fd), dir.Name()+"/"+id), made, nil
}

// attach is mount --bind by fds alone.
func attach(netns, target *os.File) error {
	tree, err := unix.OpenTree(int(netns.Fd()), "", unix.AT_EMPTY_PATH|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("open_tree: %w", err)
	}
	defer unix.Close(tree)
	if err := unix.MoveMount(tree, "", int(target.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH); err != nil {
		return fmt.Errorf("move_mount: %w", err)
	}
	return nil
}

// unpinTries bounds how often Unpin begins again. Each time it took a mount away, or another process put one there.
const unpinTries = 16

// Unpin takes the name id away; where there is none it succeeds. The namespace
// lives on if something else holds it. Copies of the mount in other mount
// namespaces don't matter: those that are the kernel's propagation go with it,
// and unlinking the file detaches the rest (Linux 3.18).
func (p *Pins) Unpin(id string) error {
	if !validID(id) {
		return fmt.Errorf("unpin a network namespace: %w: %.80q", errInvalidID, id)
	}
	now, err := openDir(p.path)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer now.Close()
	for range unpinTries {
		// EINVAL: nothing is mounted there. Both are looked at again after EBUSY: another mount was below the one taken away.
		for _, dir := range []*os.File{now, p.early} {
			path := "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + id
			err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
			if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
				return fmt.Errorf("unmount the network namespace at %s: %w", p.Path(id), err)
			}
		}
		err = unix.Unlinkat(int(now.Fd()), id, 0)
		if err == nil || errors.Is(err, unix.ENOENT) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("remove the mount point %s: %w", p.Path(id), err)
		}
	}
	return fmt.Errorf("remove the mount point %s: a mount of it is hidden below another of %s, which has to be unmounted: %w", p.Path(id), p.path, err)
}

// Open opens the pinned namespace id; the caller closes the file. Without a pin it is fs.ErrNotExist, also where only the empty file is there.
func (p *Pins) Open(id string) (*os.File, error) {
	if !validID(id) {
		return nil, fmt.Errorf("open a network namespace: %w: %.80q", errInvalidID, id)
	}
	file, err := os.OpenFile(p.Path(id), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a pinned network namespace: %w", err)
	}
	if _, err := namespaceInode(file); err != nil {
		file.Close()
		return nil, fmt.Errorf("open %s: nothing is pinned there (%w): %w", p.Path(id), err, os.ErrNotExist)
	}
	return file, nil
}

func validID(id string) bool {
	if len(id) != 64 {
		return false
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// namespaceInode gives the number of the network namespace f, as the "net:[4026531840]" of /proc/PID/ns shows it.
func namespaceInode(f *os.File) (uint64, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
		return 0, fmt.Errorf("statfs %s: %w", f.Name(), err)
	}
	if fs.Type != unix.NSFS_MAGIC {
		return 0, fmt.Errorf("%s is no namespace", f.Name())
	}
	if kind, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE); err != nil || kind != unix.CLONE_NEWNET {
		return 0, fmt.Errorf("%s is no network namespace (type %#x, %v)", f.Name(), kind, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, fmt.Errorf("stat %s: %w", f.Name(), err)
	}
	return st.Ino, nil
}
