package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// treeSize is what an unpacked layer is made of.
type treeSize struct {
	// bytes and inodes are what it takes on the disk; entries are those of the tar.
	bytes, inodes, entries int64
	opaqueRoot             bool
	// implicit are the directories that had no entry.
	implicit [][]byte
}

// unpack writes the tree of a layer's tar (OCI image specification, layer.md) below root, an empty directory, as overlayfs wants a lower layer. An
// O_PATH fd of it will do. The tar is a stranger's:
//
//   - The kernel resolves every name from root's fd, by openat2(2): none leads out of it, by "..", by an absolute name or by a link. ("..": refused at once.)
//   - A hard link's target is looked up the same way, so it can only be a file of this layer.
//   - Modes, owners, times and extended attributes are set on the object just made, never again by way of a link to it: a hard
//     link's header changes nothing (CVE-2021-32760).
//   - Whiteouts become overlayfs's own marks, each in constant time: nothing is listed, no lower layer is looked at (CVE-2026-95838).
//   - Headers, names, entries and the size of sparse files have bounds (limits.go).
//
// A directory's time is set at the end, since what is made in it changes it; times and ids of directories wait in an unlinked file, not in memory.
//
// The caller removes what an error leaves. progress is told the number of entries now and then.
func unpack(ctx context.Context, r io.Reader, root *os.File, progress func(entries int64)) (treeSize, error) {
	u := &unpacker{ctx: ctx, root: int(root.Fd()), parent: -1, progress: progress, buf: make([]byte, 128<<10)}
	defer u.forgetParent()
	late, err := newLateDirs(u.root)
	if err != nil {
		return treeSize{}, err
	}
	defer late.close()
	u.late = late
	if err := u.count(u.root); err != nil {
		return treeSize{}, err
	}
	if err := u.implicit.add(u.root); err != nil {
		return treeSize{}, err
	}
	if err := u.entries(r); err != nil {
		return treeSize{}, err
	}
	if err := late.apply(u.root); err != nil {
		return treeSize{}, err
	}
	u.size.implicit = u.implicit.list()
	return u.size, nil
}

type unpacker struct {
	ctx      context.Context
	root     int
	progress func(entries int64)
	buf      []byte
	late     *lateDirs
	size     treeSize
	implicit implicitDirs
	sparse   int64 // logical bytes of sparse files so far

	// parent is the open directory parentPath, where the last entry went: the next one usually goes there too. It can't go stale: whatever
	// replaces a directory has another parent.
	parent     int
	parentPath string
}

func (u *unpacker) entries(r io.Reader) error {
	guard := &headerGuard{r: r}
	tr := tar.NewReader(guard)
	for {
		if u.ctx.Err() != nil {
			return context.Cause(u.ctx)
		}
		guard.begin()
		h, err := tr.Next()
		guard.end()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return invalid("tar, after %d entries: %w", u.size.entries, err)
		}
		u.size.entries++
		if u.size.entries > maxLayerEntries {
			return invalid("more than %d entries", maxLayerEntries)
		}
		if u.size.entries%1024 == 0 {
			u.progress(u.size.entries)
		}
		if err := u.entry(h, tr); err != nil {
			return fmt.Errorf("entry %s: %w", quote(h.Name), err)
		}
		// Whatever of the body nobody wanted is read here: in Next it would count as header.
		if _, err := io.Copy(io.Discard, tr); err != nil {
			return invalid("tar: entry %s: %w", quote(h.Name), err)
		}
	}
	if guard.n == 0 {
		return invalid("tar: empty, not even an end of archive")
	}
	return nil
}

func (u *unpacker) entry(h *tar.Header, body io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := cleanName(h.Name)
	if err != nil {
		return err
	}
	if h.Uid < 0 || h.Uid >= 1<<32-1 || h.Gid < 0 || h.Gid >= 1<<32-1 {
		return invalid("owner %d:%d: want 0 to 4294967294", h.Uid, h.Gid)
	}
	if name == "" {
		if h.Typeflag != tar.TypeDir {
			return invalid("the layer's root can only be a directory")
		}
		return u.directory(u.root, ".", "", h)
	}
	dir, base := path.Split(name)
	dir = strings.TrimSuffix(dir, "/")
	if strings.HasPrefix(dir, whiteoutPrefix) || strings.Contains(dir, "/"+whiteoutPrefix) {
		return invalid("below a whiteout")
	}
	parent, err := u.openParent(dir)
	if err != nil {
		return err
	}
	if strings.HasPrefix(base, whiteoutPrefix) {
		return u.whiteout(parent, base)
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return u.file(parent, base, h, body)
	case tar.TypeDir:
		return u.directory(parent, base, name, h)
	case tar.TypeSymlink:
		return u.symlink(parent, base, h)
	case tar.TypeLink:
		return u.link(parent, base, h)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return u.node(parent, base, h)
	}
	return invalid("type %s: none that a layer may have", quote(string(h.Typeflag)))
}

// cleanName makes a relative path without "." and empty components; "" is the root. An absolute name begins at the root.
func cleanName(name string) (string, error) {
	if len(name) > maxPathBytes || strings.IndexByte(name, 0) >= 0 {
		return "", invalid("name of %d bytes: want at most %d, and no NUL", len(name), maxPathBytes)
	}
	var kept []string
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "" || part == ".":
			continue
		case part == "..":
			return "", invalid("name with a component \"..\"")
		case len(part) > maxNameBytes:
			return "", invalid("name with a component of %d bytes: at most %d", len(part), maxNameBytes)
		}
		kept = append(kept, part)
	}
	return strings.Join(kept, "/"), nil
}

// openParent gives an O_PATH fd of the directory dir, which it keeps. What is missing of it is made, as root's, mode 755.
func (u *unpacker) openParent(dir string) (int, error) {
	if u.parent >= 0 && u.parentPath == dir {
		return u.parent, nil
	}
	u.forgetParent()
	fd, err := u.openDir(dir)
	if err != nil {
		return -1, err
	}
	u.parent, u.parentPath = fd, dir
	return fd, nil
}

func (u *unpacker) forgetParent() {
	if u.parent >= 0 {
		unix.Close(u.parent)
	}
	u.parent = -1
}

const openDirFlags = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW

func (u *unpacker) openDir(dir string) (int, error) {
	if dir == "" {
		dir = "."
	}
	fd, err := openat2(u.root, dir, openDirFlags, 0, plain)
	switch err {
	case nil:
		return fd, nil
	case unix.ENOENT, unix.ENOTDIR, unix.ELOOP:
		return u.walk(dir)
	}
	return -1, &os.PathError{Op: "open directory", Path: quote(dir), Err: err}
}

// walk is openDir step by step: it makes what is missing and follows links of this layer.
func (u *unpacker) walk(dir string) (int, error) {
	at, err := openat2(u.root, ".", openDirFlags, 0, plain)
	if err != nil {
		return -1, err
	}
	done := ""
	for part := range strings.SplitSeq(dir, "/") {
		done = path.Join(done, part)
		next, err := u.step(at, part, done)
		unix.Close(at)
		if err != nil {
			return -1, err
		}
		at = next
	}
	return at, nil
}

// step opens the directory name of at; whole is its path from the root.
func (u *unpacker) step(at int, name, whole string) (int, error) {
	fd, err := openat2(at, name, openDirFlags, 0, plain)
	if err == unix.ENOENT {
		if err := unix.Mkdirat(at, name, 0o755); err != nil {
			return -1, &os.PathError{Op: "mkdir", Path: quote(whole), Err: err}
		}
		if fd, err = openat2(at, name, openDirFlags, 0, plain); err == nil {
			err = errors.Join(u.finishImplicit(fd), u.implicit.add(fd))
		}
	} else if err == unix.ENOTDIR || err == unix.ELOOP {
		return u.stepOver(at, name, whole)
	}
	if err != nil {
		if fd >= 0 {
			unix.Close(fd)
		}
		return -1, &os.PathError{Op: "open directory", Path: quote(whole), Err: err}
	}
	return fd, nil
}

// finishImplicit finishes a directory that the tar has no entry for, whatever umask and set-group-ID parents made of it.
func (u *unpacker) finishImplicit(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Uid != 0 || st.Gid != 0 {
		if err := unix.Chown(procFD(fd), 0, 0); err != nil {
			return err
		}
	}
	if st.Mode&0o7777 != 0o755 {
		if err := unix.Chmod(procFD(fd), 0o755); err != nil {
			return err
		}
	}
	return u.count(fd)
}

// stepOver goes on where the name is there but isn't a directory.
func (u *unpacker) stepOver(at int, name, whole string) (int, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return -1, &os.PathError{Op: "stat", Path: quote(whole), Err: err}
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		fd, err := openat2(u.root, whole, unix.O_PATH|unix.O_DIRECTORY, 0, inRoot|unix.RESOLVE_NO_XDEV)
		if err != nil {
			return -1, invalid("%s is a symbolic link that leads to no directory of this layer: %w", quote(whole), err)
		}
		if _, err := pathIn(fd); err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("%s: %w", quote(whole), err)
		}
		return fd, nil
	case isWhiteout(&st):
		if err := u.replaceWhiteout(at, name); err != nil {
			return -1, err
		}
		fd, err := openat2(at, name, openDirFlags, 0, plain)
		if err == nil {
			if err = u.finishImplicit(fd); err != nil {
				unix.Close(fd)
			}
		}
		return fd, err
	}
	return -1, invalid("%s is not a directory", quote(whole))
}

// headerGuard holds what the tar reader reads to find an entry to maxHeaderBytes: extended headers and sparse maps are parsed into memory,
// and a few kilobytes of compressed input can be very many of them (CVE-2026-32288, CVE-2025-58183).
type headerGuard struct {
	r     io.Reader
	n     int64
	armed bool
	left  int64
}

func (g *headerGuard) begin() { g.armed, g.left = true, maxHeaderBytes }
func (g *headerGuard) end()   { g.armed = false }

func (g *headerGuard) Read(p []byte) (int, error) {
	if g.armed {
		if g.left <= 0 {
			return 0, invalid("headers of one entry are larger than %d bytes", maxHeaderBytes)
		}
		p = p[:min(int64(len(p)), g.left)]
	}
	n, err := g.r.Read(p)
	g.n += int64(n)
	g.left -= int64(n)
	return n, err
}

func procFD(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }
