package mount

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// fsContext is a superblock under configuration: fsopen(2), fsconfig(2), fsmount(2).
type fsContext struct {
	fd   int
	name string
}

func openFS(name string) (*fsContext, error) {
	fd, err := unix.Fsopen(name, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, &Error{Call: "fsopen", FS: name, Err: err}
	}
	return &fsContext{fd, name}, nil
}

func (c *fsContext) close() { unix.Close(c.fd) }

// set gives a parameter a value of at most 255 bytes.
func (c *fsContext) set(key, value string) error {
	if err := unix.FsconfigSetString(c.fd, key, value); err != nil {
		return c.failed("fsconfig", key, value, "", err)
	}
	return nil
}

func (c *fsContext) setFlag(key string) error {
	if err := unix.FsconfigSetFlag(c.fd, key); err != nil {
		return c.failed("fsconfig", key, "", "", err)
	}
	return nil
}

// setFD gives a parameter an open directory; path is for the error only.
func (c *fsContext) setFD(key string, fd int, path string) error {
	if err := unix.FsconfigSetFd(c.fd, key, fd); err != nil {
		return c.failed("fsconfig", key, "fd "+strconv.Itoa(fd), path, err)
	}
	return nil
}

// param is a string parameter of a file system, or a flag where value is empty.
type param struct{ key, value string }

func (c *fsContext) setAll(params []param) error {
	for _, p := range params {
		var err error
		if p.value == "" {
			err = c.setFlag(p.key)
		} else {
			err = c.set(p.key, p.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mount creates the superblock and a detached mount of it with MOUNT_ATTR_* attrs; the result is the mount's fd.
func (c *fsContext) mount(attrs int) (int, error) {
	if err := unix.FsconfigCreate(c.fd); err != nil {
		return -1, c.failed("fsconfig", "create", "", "", err)
	}
	fd, err := unix.Fsmount(c.fd, unix.FSMOUNT_CLOEXEC, attrs)
	if err != nil {
		return -1, c.failed("fsmount", "", "", "", err)
	}
	return fd, nil
}

func (c *fsContext) failed(call, key, value, path string, err error) error {
	return &Error{Call: call, FS: c.name, Key: key, Value: value, Path: path, Messages: c.messages(), Err: err}
}

// messages takes the kernel's log out of the context: one line a read, a level letter and a space in front.
func (c *fsContext) messages() []string {
	var lines []string
	buf := make([]byte, 4096)
	// The kernel keeps the last eight.
	for range 8 {
		n, err := unix.Read(c.fd, buf)
		if err != nil || n <= 0 {
			return lines
		}
		line := strings.TrimSpace(string(buf[:n]))
		if text, ok := strings.CutPrefix(line, "e "); ok {
			lines = append(lines, text)
		} else if text, ok := strings.CutPrefix(line, "w "); ok {
			lines = append(lines, text)
		}
	}
	return lines
}

// newFS makes a detached mount of a new superblock of the named type.
func newFS(name string, attrs int, params []param) (int, error) {
	c, err := openFS(name)
	if err != nil {
		return -1, err
	}
	defer c.close()
	if err := c.setAll(params); err != nil {
		return -1, err
	}
	return c.mount(attrs)
}
