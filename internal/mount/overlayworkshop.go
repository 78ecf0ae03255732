package mount

import (
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// overlayWorkshop builds the overlay for kernels that can't build it detached: clones of the layers, made in the caller's namespace, are
// attached to a bench of the workshop under names of up to three digits, so that the option string of
// 500 layers stays below mount(2)'s page. The overlay is cloned, and the bench taken down; the overlay holds its layers itself.
func (m *Mounter) overlayWorkshop(c *OverlayConfig) (int, error) {
	w, err := m.workshop()
	if err != nil {
		return -1, err
	}
	var lower closing
	defer func() { lower.close() }()
	for _, dir := range c.Lower {
		fd, err := c.cloneLower(dir)
		if err != nil {
			return -1, err
		}
		lower = append(lower, fd)
	}
	if c.padded() {
		fd, err := newEmptyFS()
		if err != nil {
			return -1, err
		}
		lower = append(lower, fd)
	}
	writable := -1
	if c.Upper != "" {
		dir := filepath.Dir(c.Upper)
		if writable, err = cloneTree(unix.AT_FDCWD, dir, false, dir); err != nil {
			return -1, err
		}
		defer unix.Close(writable)
	}

	result := -1
	err = w.do(func() error {
		return atBench(func() error {
			result, err = c.mountAtBench(lower, writable)
			return err
		})
	})
	if err != nil {
		if result >= 0 {
			unix.Close(result)
		}
		return -1, err
	}
	if attrs := c.attrs(); attrs != 0 {
		if err := setAttr(result, false, unix.MountAttr{Attr_set: uint64(attrs)}, ""); err != nil {
			unix.Close(result)
			return -1, err
		}
	}
	return result, nil
}

// mountAtBench attaches the layers, mounts the overlay at m and returns a detached clone of it.
func (c *OverlayConfig) mountAtBench(lower closing, writable int) (int, error) {
	names := make([]string, len(lower))
	for i, fd := range lower {
		names[i] = strconv.Itoa(i)
		if err := moveMount(fd, unix.AT_FDCWD, names[i]); err != nil {
			return -1, err
		}
	}
	options := "lowerdir=" + strings.Join(names, ":")
	if writable >= 0 {
		if err := moveMount(writable, unix.AT_FDCWD, "w"); err != nil {
			return -1, err
		}
		options += ",upperdir=w/" + filepath.Base(c.Upper) + ",workdir=w/" + filepath.Base(c.Work)
	}
	for _, p := range c.params() {
		options += "," + p.key
		if p.value != "" {
			options += "=" + p.value
		}
	}
	if err := unix.Mount("overlay", "m", "overlay", 0, options); err != nil {
		path := ""
		if c.Upper != "" {
			path = c.Upper
		}
		return -1, &Error{Call: "mount", FS: "overlay", Key: "data", Value: options, Path: path, Err: explain(err, "the kernel's log has the reason")}
	}
	return cloneTree(unix.AT_FDCWD, "m", false, "the overlay")
}
