package image

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// treeCheck holds one layer's tree to the layer's headers and counts. Its first error is the first damage, with how many more there is.
type treeCheck struct {
	s     *Store
	l     *layerRecord
	deep  bool
	tree  int
	files int64
	// wrong is what doesn't fit its last header, by where it is: a later header may yet fit.
	wrong map[string]misfit
	more  int // beyond maxWrong
}

// misfit is a name that isn't what its header says.
type misfit struct{ name, problem string }

// maxWrong bounds what is remembered of a tree that fits nowhere.
const maxWrong = 1000

func (t *treeCheck) run(ctx context.Context) error {
	dir := layerDir(t.l.DiffID)
	f, err := t.s.root.Open(path.Join(dir, dirDiff))
	if err != nil {
		return err
	}
	defer f.Close()
	t.tree, t.wrong = int(f.Fd()), map[string]misfit{}
	if t.l.Headers > 0 {
		if err := t.headers(ctx, dir); err != nil {
			return err
		}
	}
	inodes, err := countInodes(ctx, f)
	if err != nil {
		return err
	}
	if inodes != t.l.Inodes {
		return damage("its tree has %d files and directories, and had %d when it was unpacked", inodes, t.l.Inodes)
	}
	if t.deep && t.l.Headers > 0 {
		return t.s.writeTar(ctx, t.l, io.Discard)
	}
	return nil
}

func (t *treeCheck) headers(ctx context.Context, dir string) error {
	fi, err := t.s.root.Lstat(path.Join(dir, fileHeaders))
	if err != nil {
		return damage("its headers are missing: %w", err)
	}
	if fi.Size() != t.l.Headers {
		return damage("the file of its headers has %d bytes, and had %d when it was written", fi.Size(), t.l.Headers)
	}
	if err := t.s.readTar(ctx, t.l, false, io.Discard, t.entry); err != nil {
		return err
	}
	if len(t.wrong) == 0 {
		return nil
	}
	first := slices.MinFunc(slices.Collect(maps.Values(t.wrong)), func(a, b misfit) int { return cmp.Compare(a.name, b.name) })
	others := ""
	if n := len(t.wrong) + t.more - 1; n > 0 {
		others = fmt.Sprintf(", and %d more like it", n)
	}
	return damage("%s %s%s", quote(first.name), first.problem, others)
}

// entry looks at what one header became.
func (t *treeCheck) entry(h *tar.Header) error {
	t.files++
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := cleanName(h.Name)
	if err != nil {
		return damage("its headers: %w", err)
	}
	place, problem, err := t.look(name, h)
	if err != nil {
		return err
	}
	switch {
	case problem == "":
		delete(t.wrong, place)
	case len(t.wrong) < maxWrong:
		t.wrong[place] = misfit{name, problem}
	default:
		t.more++
	}
	return nil
}

// look gives the place: the name, but of a directory, which may have several by way of links, its inode.
func (t *treeCheck) look(name string, h *tar.Header) (place, problem string, err error) {
	place = name
	if name == "" {
		name = "."
	}
	hidden, whiteout := whiteoutTarget(name)
	if whiteout {
		name = hidden
	}
	fd, err := openat2(t.tree, name, unix.O_PATH|unix.O_NOFOLLOW, 0, inRoot|unix.RESOLVE_NO_XDEV)
	if notThere(err) {
		return place, "is missing", nil
	}
	if err != nil {
		return place, "can't be looked at: " + err.Error(), nil
	}
	defer unix.Close(fd)
	if whiteout {
		return place, "", nil // the layer may have something of its own there
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", "", os.NewSyscallError("fstat", err)
	}
	if h.Typeflag == tar.TypeDir && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		place = "/" + strconv.FormatUint(st.Ino, 10) // no name begins so
	}
	return place, t.compare(fd, &st, h), nil
}

// whiteoutTarget gives what a whiteout's entry is about: the directory it hides all in, or the name it hides.
func whiteoutTarget(name string) (target string, ok bool) {
	dir, base := path.Split(name)
	switch {
	case !strings.HasPrefix(base, whiteoutPrefix):
		return "", false
	case strings.HasPrefix(base, whiteoutMeta):
		return path.Clean("./" + dir), true
	}
	return path.Join(dir, strings.TrimPrefix(base, whiteoutPrefix)), true
}

// compare says what of the object at fd isn't as its header has it.
func (t *treeCheck) compare(fd int, st *unix.Stat_t, h *tar.Header) string {
	if h.Typeflag == tar.TypeLink {
		return t.compareLink(st, h)
	}
	want := map[byte]uint32{
		tar.TypeDir: unix.S_IFDIR, tar.TypeSymlink: unix.S_IFLNK, tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK, tar.TypeFifo: unix.S_IFIFO,
	}[h.Typeflag]
	if want == 0 {
		want = unix.S_IFREG
	}
	mode := uint32(h.Mode) & 0o7777
	// An access ACL has the group's bits of the mode in it, and was set last.
	_, acl := h.PAXRecords[paxXattr+"system.posix_acl_access"]
	switch {
	case st.Mode&unix.S_IFMT != want:
		return fmt.Sprintf("has the type %#o, not %#o", st.Mode&unix.S_IFMT, want)
	case want == unix.S_IFREG && st.Size != h.Size:
		return fmt.Sprintf("has %d bytes, not %d", st.Size, h.Size)
	case st.Uid != uint32(h.Uid) || st.Gid != uint32(h.Gid):
		return fmt.Sprintf("belongs to %d:%d, not to %d:%d", st.Uid, st.Gid, h.Uid, h.Gid)
	case want != unix.S_IFLNK && !acl && st.Mode&0o7777 != mode:
		return fmt.Sprintf("has the mode %#o, not %#o", st.Mode&0o7777, mode)
	case (want == unix.S_IFCHR || want == unix.S_IFBLK) && st.Rdev != unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor)):
		return fmt.Sprintf("is the device %d:%d, not %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev), h.Devmajor, h.Devminor)
	}
	if want == unix.S_IFLNK {
		if target, err := readLinkAt(fd); err != nil || target != h.Linkname {
			return fmt.Sprintf("leads to %s, not to %s", quote(target), quote(h.Linkname))
		}
	}
	return compareXattrs(fd, want, h)
}

func (t *treeCheck) compareLink(st *unix.Stat_t, h *tar.Header) string {
	target, err := cleanName(h.Linkname)
	if err != nil {
		return "links to " + quote(h.Linkname)
	}
	fd, err := openat2(t.tree, target, unix.O_PATH|unix.O_NOFOLLOW, 0, inRoot|unix.RESOLVE_NO_XDEV)
	if err != nil {
		return "is no link to " + quote(h.Linkname) + " any more"
	}
	defer unix.Close(fd)
	var other unix.Stat_t
	if err := unix.Fstat(fd, &other); err != nil || other.Ino != st.Ino {
		return "is no link to " + quote(h.Linkname) + " any more"
	}
	return ""
}

// compareXattrs looks for the attributes that make a program more than it seems, or that a layer can't do without; what a file system doesn't have was left out as it was unpacked.
func compareXattrs(fd int, kind uint32, h *tar.Header) string {
	if kind != unix.S_IFREG {
		return ""
	}
	const name = "security.capability"
	want, ok := h.PAXRecords[paxXattr+name]
	if !ok {
		return ""
	}
	value := make([]byte, 256)
	n, err := unix.Getxattr(procFD(fd), name, value)
	if err != nil || string(value[:n]) != want {
		return "has not the file capabilities it had"
	}
	return ""
}

func readLinkAt(fd int) (string, error) {
	buf := make([]byte, maxPathBytes+1)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// countInodes counts what is in a tree and its root, hard links once.
func countInodes(ctx context.Context, root *os.File) (int64, error) {
	w := inodeWalk{ctx: ctx, linked: map[uint64]bool{}}
	if err := w.dir(int(root.Fd()), "."); err != nil {
		return 0, err
	}
	return w.n + 1, nil
}

type inodeWalk struct {
	ctx    context.Context
	n      int64
	depth  int
	linked map[uint64]bool // inodes with several names
}

// dir counts what is in the directory name of at. A tree that is deeper than any path is long can't have come of a layer.
func (w *inodeWalk) dir(at int, name string) error {
	if w.depth > maxPathBytes {
		return damage("its tree is deeper than %d directories", w.depth)
	}
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	fd, err := openat2(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0, plain)
	if err != nil {
		return damage("directory %s can't be opened: %w", quote(name), err)
	}
	d := os.NewFile(uintptr(fd), name)
	defer d.Close()
	w.depth++
	defer func() { w.depth-- }()
	for {
		entries, err := d.ReadDir(1024)
		for _, e := range entries {
			if err := w.entry(fd, e); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return damage("directory %s can't be read: %w", quote(name), err)
		}
	}
}

func (w *inodeWalk) entry(dir int, e os.DirEntry) error {
	if e.IsDir() {
		w.n++
		return w.dir(dir, e.Name())
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dir, e.Name(), &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return damage("%s can't be looked at: %w", quote(e.Name()), err)
	}
	if st.Nlink > 1 {
		if w.linked[st.Ino] {
			return nil
		}
		w.linked[st.Ino] = true
	}
	w.n++
	return nil
}
