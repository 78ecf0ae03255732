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
	diffID                 Digest // of its tar
	opaqueRoot             bool
	// implicit are the directories that had no entry.
	implicit [][]byte
	// headers is the size of the file with the tar's headers, 0 where there is none for the reason noHeaders.
	headers   int64
	noHeaders string
	tar       int64 // bytes of the tar
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
// Small files are written beside it, by the writers of smallFiles; what the tree's names mean is decided here alone, in the tar's order.
//
// The caller removes what an error leaves. progress is told the number of entries now and then, keep
// (unless nil) what the tar has beside the files' contents.
func (s *Store) unpack(ctx context.Context, r io.Reader, root *os.File, progress func(entries int64), keep *headersWriter) (treeSize, error) {
	u := &unpacker{ctx: ctx, root: int(root.Fd()), progress: progress, buf: make([]byte, 128<<10), small: s.newSmallFiles(ctx), keep: keep}
	defer u.dirs.drop()
	ended := false
	defer func() {
		if !ended {
			// A panic is on its way to makeLayer: the writers must not wait for ever.
			u.small.fail(ErrPanic)
			u.small.end()
		}
	}()
	err := u.entries(r)
	if err != nil {
		u.small.fail(err)
	}
	ended = true
	// What a writer says is about an entry before the one that err is about.
	if err := u.small.end(); err != nil {
		return treeSize{}, err
	}
	u.size.bytes += u.small.bytes.Load()
	if err := u.dirs.end(); err != nil {
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
	size     treeSize // but for the bytes of small files
	small    *smallFiles
	keep     *headersWriter
	dirs     openDirs
	implicit implicitDirs
	sparse   int64 // logical bytes of sparse files so far
}

func (u *unpacker) entries(r io.Reader) error {
	if err := u.begin(); err != nil {
		return err
	}
	guard := &headerGuard{r: r, keep: u.keep}
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
		if u.small.failed.Load() != nil {
			return u.small.err()
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

// begin opens the root, which has no entry so far.
func (u *unpacker) begin() error {
	fd, err := openat2(u.root, ".", openDirFlags, 0, plain)
	if err != nil {
		return os.NewSyscallError("open directory", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return os.NewSyscallError("fstat", err)
	}
	u.count(&st)
	return errors.Join(u.dirs.pushOpened("", fd, &st), u.implicit.add(fd, &st))
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
		if _, err := u.openParent(""); err != nil {
			return err
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

// openParent gives an fd of the directory dir, which is openDirs's. What is missing of it is made, as root's, mode 755.
func (u *unpacker) openParent(dir string) (int, error) {
	above, err := u.dirs.find(dir)
	if err != nil {
		return -1, err
	}
	at, whole := u.root, ""
	if above != nil {
		if above.path == dir {
			return above.fd, nil
		}
		at, whole = above.fd, above.path
	}
	rest := strings.TrimPrefix(strings.TrimPrefix(dir, whole), "/")
	if rest == "" {
		rest = "."
	}
	fd, err := openat2(at, rest, openDirFlags, 0, plain)
	switch err {
	case nil:
		return fd, u.enter(fd, dir)
	case unix.ENOENT, unix.ENOTDIR, unix.ELOOP:
		if above == nil {
			// Something may be made in the root, so it has to be among the open ones.
			if at, err = u.openParent(""); err != nil {
				return -1, err
			}
		}
		return u.walk(at, whole, rest)
	}
	return -1, &os.PathError{Op: "open directory", Path: quote(dir), Err: err}
}

// enter gives a directory that was there to openDirs.
func (u *unpacker) enter(fd int, path string) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return os.NewSyscallError("fstat", err)
	}
	return u.dirs.pushOpened(path, fd, &st)
}

// walk is openParent step by step, from the open directory at, whose path is whole: it makes what is missing and follows links of this layer.
func (u *unpacker) walk(at int, whole, rest string) (int, error) {
	for part := range strings.SplitSeq(rest, "/") {
		whole = path.Join(whole, part)
		next, err := u.step(at, part, whole)
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
	switch err {
	case nil:
		return fd, u.enter(fd, whole)
	case unix.ENOENT:
		if err := unix.Mkdirat(at, name, 0o755); err != nil {
			return -1, &os.PathError{Op: "mkdir", Path: quote(whole), Err: err}
		}
		return u.enterImplicit(at, name, whole, true)
	case unix.ENOTDIR, unix.ELOOP:
		return u.stepOver(at, name, whole)
	}
	return -1, &os.PathError{Op: "open directory", Path: quote(whole), Err: err}
}

// enterImplicit opens and finishes a directory that was just made and that the tar has no entry for, whatever umask and set-group-ID parents made of it. settle
// says whether it is to get what the layers below say.
func (u *unpacker) enterImplicit(at int, name, whole string, settle bool) (int, error) {
	fd, err := openat2(at, name, openDirFlags, 0, plain)
	if err != nil {
		return -1, &os.PathError{Op: "open directory", Path: quote(whole), Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("fstat", err)
	}
	u.count(&st)
	if settle {
		if err := u.implicit.add(fd, &st); err != nil {
			unix.Close(fd)
			return -1, err
		}
	}
	if err := setOwnerMode(fd, &st, 0, 0, 0o755); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, u.dirs.push(openDir{path: whole, fd: fd, times: []unix.Timespec{st.Atim, st.Mtim}})
}

// stepOver goes on where the name is there but isn't a directory.
func (u *unpacker) stepOver(at int, name, whole string) (int, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return -1, &os.PathError{Op: "stat", Path: quote(whole), Err: err}
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		fd, err := openat2(u.root, whole, unix.O_RDONLY|unix.O_DIRECTORY, 0, inRoot|unix.RESOLVE_NO_XDEV)
		if err != nil {
			return -1, invalid("%s is a symbolic link that leads to no directory of this layer: %w", quote(whole), err)
		}
		if _, err := pathIn(fd); err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("%s: %w", quote(whole), err)
		}
		return fd, u.enter(fd, whole)
	case isWhiteout(&st):
		if err := u.replaceWhiteout(at, name); err != nil {
			return -1, err
		}
		return u.enterImplicit(at, name, whole, false)
	}
	return -1, invalid("%s is not a directory", quote(whole))
}

// headerGuard holds what the tar reader reads to find an entry to maxHeaderBytes: extended headers and sparse maps are parsed into memory,
// and a few kilobytes of compressed input can be very many of them (CVE-2026-32288, CVE-2025-58183).
type headerGuard struct {
	r     io.Reader
	keep  *headersWriter // is told all that is read
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
	g.keep.read(p[:n])
	g.n += int64(n)
	g.left -= int64(n)
	return n, err
}

func procFD(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }
