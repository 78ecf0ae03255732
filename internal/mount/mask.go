package mount

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// masks are the templates that masked paths (CRI LinuxContainerSecurityContext.masked_paths) are covered with: an empty directory and a null
// device, each a clone of one mount that podlet made itself and that no container can write to. A container's own
// /dev/null would be a file the container can exchange (CVE-2025-31133).
//
// All clones share their template's inodes, so both mounts are read-only, and both superblocks too: nobody changes the mode of
// another container's mask.
type masks struct {
	sync.Mutex
	made, closed bool
	empty, null  int // fds of detached mounts; valid while made
}

func (k *masks) close() {
	k.Lock()
	defer k.Unlock()
	k.closed = true
	if k.made {
		unix.Close(k.empty)
		unix.Close(k.null)
		k.made = false
	}
}

// MaskDir gives a fresh read-only mount of an empty directory.
func (m *Mounter) MaskDir() (*os.File, error) { return m.mask("mask directory", "empty") }

// MaskFile gives a fresh read-only mount of a null device (character device 1:3).
func (m *Mounter) MaskFile() (*os.File, error) { return m.mask("mask file", "nulls/null") }

// OpenNull opens podlet's own null device for reading: the standard input of a process that has none. The node's /dev/null would not do: whoever holds it open and
// has its owner's id can change its mode and owner, for the whole node. This one is read-only.
func (m *Mounter) OpenNull() (*os.File, error) {
	m.stdin.Lock()
	defer m.stdin.Unlock()
	if m.stdin.closed {
		return nil, fmt.Errorf("open the null device: %w", errClosed)
	}
	if m.stdin.null == nil {
		mnt, err := m.MaskFile()
		if err != nil {
			return nil, err
		}
		m.stdin.null = mnt
	}
	// An fd of its own each time: flags as O_NONBLOCK belong to the open file, and containers share none.
	return os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", m.stdin.null.Fd()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

// stdin keeps the mount through which the null device is opened.
type stdin struct {
	sync.Mutex
	null   *os.File
	closed bool
}

func (s *stdin) close() {
	s.Lock()
	defer s.Unlock()
	s.closed = true
	if s.null != nil {
		s.null.Close()
		s.null = nil
	}
}

func (m *Mounter) mask(name, template string) (*os.File, error) {
	ok, err := m.detached(cloneDetached)
	if err != nil {
		return nil, err
	}
	fd := -1
	if ok {
		fd, err = m.cloneMask(template)
	} else {
		fd, err = m.cloneWorkshopMask(template)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return file(fd, name), nil
}

func (m *Mounter) cloneMask(template string) (int, error) {
	k := &m.masks
	k.Lock()
	defer k.Unlock()
	if k.closed {
		return -1, errClosed
	}
	if !k.made {
		if err := k.makeLocked(); err != nil {
			return -1, err
		}
	}
	if template == "empty" {
		return cloneTree(k.empty, "", false, template)
	}
	return cloneTree(k.null, "null", false, template)
}

func (k *masks) makeLocked() (err error) {
	if k.empty, err = newEmptyFS(); err != nil {
		return err
	}
	if k.null, err = newNullFS(); err != nil {
		unix.Close(k.empty)
		return err
	}
	k.made = true
	return nil
}

func (m *Mounter) cloneWorkshopMask(template string) (int, error) {
	w, err := m.workshop()
	if err != nil {
		return -1, err
	}
	fd := -1
	err = w.do(func() error {
		fd, err = cloneTree(unix.AT_FDCWD, template, false, template)
		return err
	})
	return fd, err
}

const maskAttrs = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC

// newEmptyFS is a read-only tmpfs with room for nothing but its root.
func newEmptyFS() (int, error) {
	return newFS("tmpfs", maskAttrs|unix.MOUNT_ATTR_NODEV, []param{{"mode", "755"}, {"nr_inodes", "1"}, {"size", "4096"}, {"ro", ""}})
}

// newNullFS is a read-only tmpfs that holds one file, "null".
func newNullFS() (int, error) {
	c, err := openFS("tmpfs")
	if err != nil {
		return -1, err
	}
	defer c.close()
	if err := c.setAll([]param{{"mode", "755"}, {"nr_inodes", "2"}, {"size", "4096"}}); err != nil {
		return -1, err
	}
	fd, err := c.mount(0)
	if err != nil {
		return -1, err
	}
	if err := c.sealNull(fd); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// sealNull makes the node, makes sure that it is what it should be, and makes mount and superblock read-only.
func (c *fsContext) sealNull(fd int) error {
	node := Device{Path: "null", Mode: unix.S_IFCHR | 0o666, Rdev: unix.Mkdev(1, 3)}
	if err := node.makeAt(fd, "null"); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(fd, "null", &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &Error{Call: "fstatat", Path: "null", Err: err}
	}
	if st.Mode != node.Mode || st.Rdev != node.Rdev {
		return fmt.Errorf("the null device for masks came out as mode %#o device %d:%d", st.Mode, unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	if err := setAttr(fd, false, unix.MountAttr{Attr_set: maskAttrs}, "null"); err != nil {
		return err
	}
	if err := c.setFlag("ro"); err != nil {
		return err
	}
	if err := unix.FsconfigReconfigure(c.fd); err != nil {
		return c.failed("fsconfig", "reconfigure", "ro", "", err)
	}
	return nil
}
