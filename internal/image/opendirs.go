package image

import (
	"archive/tar"
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// maxOpenDirs bounds the files that openDirs holds.
const maxOpenDirs = 32

const openDirFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW

// openDirs are the directories that lie on the way to where the last entry went: the next one usually goes there too, or beside it.
//
// Nothing is made in a directory that isn't among them. So they also keep what a directory gets once nothing more goes into it: its times, which each new name in it
// changes, and its default ACL, which new files would inherit. A directory that is opened again gets back what it had.
type openDirs struct {
	// stack has each directory after those above it; not all of those need be there.
	stack []openDir
	// stale: a directory or a link was removed, so that the paths may lead elsewhere than to the open ones.
	stale bool
	// acls: some directory of the layer has a default ACL.
	acls bool
}

type openDir struct {
	path  string // from the layer's root, as the tar has it: "" for the root itself
	fd    int
	times []unix.Timespec
	acl   []byte // none if empty
}

// find gives the directory, or the nearest one above it that is open, and ends all others; nil where none is.
func (d *openDirs) find(path string) (*openDir, error) {
	for len(d.stack) > 0 {
		top := &d.stack[len(d.stack)-1]
		if !d.stale && (top.path == "" || top.path == path || strings.HasPrefix(path, top.path) && path[len(top.path)] == '/') {
			return top, nil
		}
		d.stack = d.stack[:len(d.stack)-1]
		if err := top.end(); err != nil {
			return nil, err
		}
	}
	d.stale = false
	return nil, nil
}

// push adds a directory below all that are open. On an error too the fd is openDirs's.
func (d *openDirs) push(dir openDir) error {
	if top := len(d.stack) - 1; top >= 0 && d.stack[top].path == dir.path {
		// The root, which was open before its entry came.
		unix.Close(d.stack[top].fd)
		d.stack = d.stack[:top]
	}
	d.stack = append(d.stack, dir)
	if len(d.stack) <= maxOpenDirs {
		return nil
	}
	first := d.stack[0]
	d.stack = append(d.stack[:0], d.stack[1:]...)
	return first.end()
}

// pushOpened is push for a directory that had content before, st being what it was.
func (d *openDirs) pushOpened(path string, fd int, st *unix.Stat_t) error {
	acl, err := d.takeACL(fd)
	return errors.Join(err, d.push(openDir{path: path, fd: fd, times: []unix.Timespec{st.Atim, st.Mtim}, acl: acl}))
}

// takeACL takes the default ACL off a directory, for as long as it is open.
func (d *openDirs) takeACL(fd int) ([]byte, error) {
	if !d.acls {
		return nil, nil
	}
	acl := make([]byte, 64<<10) // XATTR_SIZE_MAX
	n, err := unix.Fgetxattr(fd, defaultACL, acl)
	if err == unix.ENODATA || err == unix.ENOTSUP {
		return nil, nil
	}
	if err != nil {
		return nil, os.NewSyscallError("fgetxattr "+defaultACL, err)
	}
	return acl[:n:n], os.NewSyscallError("fremovexattr "+defaultACL, unix.Fremovexattr(fd, defaultACL))
}

// end gives all directories what waits for them.
func (d *openDirs) end() error {
	d.stale = true
	_, err := d.find("")
	return err
}

// drop closes them, the layer being lost.
func (d *openDirs) drop() {
	for _, dir := range d.stack {
		unix.Close(dir.fd)
	}
	d.stack = nil
}

// end gives the directory what waits for it and closes it.
func (d *openDir) end() error {
	defer unix.Close(d.fd)
	if len(d.acl) > 0 {
		if err := setXattr(unix.Setxattr, procFD(d.fd), defaultACL, d.acl, tar.TypeDir); err != nil {
			return err
		}
	}
	return os.NewSyscallError("utimensat", unix.UtimesNanoAt(d.fd, "", d.times, unix.AT_EMPTY_PATH))
}
