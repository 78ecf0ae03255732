package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"podlet/hack/testimages/testimage"
)

// unpackTo unpacks r below a fresh directory, by the way that the store takes.
func unpackTo(t testing.TB, r io.Reader) (string, treeSize, error) {
	t.Helper()
	s := newStore(t)
	must(t, s.root.Mkdir("tmp/tree", 0o755))
	tree, err := s.openTree("tmp/tree")
	must(t, err)
	defer tree.Close()
	size, err := s.unpack(context.Background(), r, tree, func(int64) {}, nil)
	return filepath.Join(s.path, "tmp/tree"), size, err
}

func tarOf(t testing.TB, tree *testimage.Tree) []byte {
	t.Helper()
	l, err := tree.Layer(testimage.None)
	must(t, err)
	return l.Tar
}

func lstat(t testing.TB, path string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return st
}

func xattr(path, name string) string {
	buf := make([]byte, 4096)
	n, err := unix.Lgetxattr(path, name, buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

func TestUnpackKinds(t *testing.T) {
	long := strings.Repeat("n", 255) + "/" + strings.Repeat("m", 255)
	mtime := time.Unix(1_600_000_000, 123_000_000)
	add := func(tr *testimage.Tree, h tar.Header, body string) {
		h.ModTime, h.Format = mtime, tar.FormatPAX
		tr.Add(h, []byte(body))
	}
	tr := testimage.NewTree()
	add(tr, tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o711}, "")
	add(tr, tar.Header{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o2750, Uid: 7, Gid: 8}, "")
	add(tr, tar.Header{Typeflag: tar.TypeReg, Name: "d/suid", Mode: 0o6755, Uid: 9, Gid: 10, PAXRecords: map[string]string{
		"SCHILY.xattr.user.note":           "hello",
		"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"SCHILY.xattr.security.selinux":    "u:r:t",
	}}, "content")
	add(tr, tar.Header{Typeflag: tar.TypeLink, Name: "d/hard", Linkname: "/d/suid", Mode: 0o777, Uid: 1}, "")
	add(tr, tar.Header{Typeflag: tar.TypeSymlink, Name: "d/soft", Linkname: "/etc/shadow", Uid: 5, Gid: 6}, "")
	add(tr, tar.Header{Typeflag: tar.TypeChar, Name: "d/null", Mode: 0o666, Devmajor: 1, Devminor: 3, Uid: 3}, "")
	add(tr, tar.Header{Typeflag: tar.TypeBlock, Name: "d/disk", Mode: 0o660, Devmajor: 259, Devminor: 70000}, "")
	add(tr, tar.Header{Typeflag: tar.TypeFifo, Name: "d/fifo", Mode: 0o4640, Gid: 4}, "")
	add(tr, tar.Header{Typeflag: tar.TypeReg, Name: "/" + long, Mode: 0o600, Uid: 4294967294, Gid: 4294967294}, "")
	add(tr, tar.Header{Typeflag: tar.TypeReg, Name: "./implied//dir/./file", Mode: 0o644}, "x")
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	root, size, err := unpackTo(t, bytes.NewReader(tarOf(t, tr)))
	must(t, err)

	for path, want := range map[string]struct {
		mode     uint32
		uid, gid uint32
	}{
		"":                 {unix.S_IFDIR | 0o711, 0, 0},
		"d":                {unix.S_IFDIR | 0o2750, 7, 8},
		"d/suid":           {unix.S_IFREG | 0o6755, 9, 10},
		"d/hard":           {unix.S_IFREG | 0o6755, 9, 10},
		"d/soft":           {unix.S_IFLNK | 0o777, 5, 6},
		"d/null":           {unix.S_IFCHR | 0o666, 3, 0},
		"d/disk":           {unix.S_IFBLK | 0o660, 0, 0},
		"d/fifo":           {unix.S_IFIFO | 0o4640, 0, 4},
		long:               {unix.S_IFREG | 0o600, 4294967294, 4294967294},
		"implied":          {unix.S_IFDIR | 0o755, 0, 0},
		"implied/dir":      {unix.S_IFDIR | 0o755, 0, 0},
		"implied/dir/file": {unix.S_IFREG | 0o644, 0, 0},
	} {
		st := lstat(t, filepath.Join(root, path))
		if st.Mode != want.mode || st.Uid != want.uid || st.Gid != want.gid {
			t.Errorf("%q: mode %o owner %d:%d, want %o %d:%d", path, st.Mode, st.Uid, st.Gid, want.mode, want.uid, want.gid)
		}
		if !strings.HasPrefix(path, "implied") && (st.Mtim.Sec != mtime.Unix() || st.Mtim.Nsec != int64(mtime.Nanosecond())) {
			t.Errorf("%q: mtime %v", path, st.Mtim)
		}
	}
	if null := lstat(t, root+"/d/null"); null.Rdev != unix.Mkdev(1, 3) {
		t.Errorf("null is %#x", null.Rdev)
	}
	if disk := lstat(t, root+"/d/disk"); disk.Rdev != unix.Mkdev(259, 70000) {
		t.Errorf("disk is %#x", disk.Rdev)
	}
	if lstat(t, root+"/d/suid").Ino != lstat(t, root+"/d/hard").Ino {
		t.Error("hard is no link to suid")
	}
	if got := xattr(root+"/d/suid", "user.note"); got != "hello" {
		t.Errorf("user.note is %q", got)
	}
	if got := xattr(root+"/d/suid", "security.capability"); len(got) != 20 {
		t.Errorf("security.capability is %q", got)
	}
	if target, _ := os.Readlink(root + "/d/soft"); target != "/etc/shadow" {
		t.Errorf("soft leads to %q", target)
	}
	checkSize(t, root, size)
}

// checkSize counts the tree anew.
func checkSize(t testing.TB, root string, got treeSize) {
	t.Helper()
	var want treeSize
	seen := map[uint64]bool{}
	must(t, filepath.Walk(root, func(path string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		st := lstat(t, path)
		if !seen[st.Ino] {
			seen[st.Ino] = true
			want.inodes++
			want.bytes += st.Blocks * 512
		}
		return nil
	}))
	if got.inodes != want.inodes {
		t.Errorf("counted %d inodes, there are %d", got.inodes, want.inodes)
	}
	// ext4 gives its last word on blocks when it writes them.
	if diff := got.bytes - want.bytes; diff < -64<<10 || diff > 64<<10 {
		t.Errorf("counted %d bytes, there are %d", got.bytes, want.bytes)
	}
}

// TestUnpackRefuses is the tar zoo: each must fail, as the layer's fault, and touch nothing outside.
func TestUnpackRefuses(t *testing.T) {
	canary := filepath.Join(t.TempDir(), "canary")
	must(t, os.WriteFile(canary, []byte("mine"), 0o600))
	before := lstat(t, canary)
	outside := filepath.Dir(canary)
	file := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o777} }
	for name, tree := range map[string]*testimage.Tree{
		"dotdot":                  testimage.NewTree().Add(file("../evil"), nil),
		"dotdot inside":           testimage.NewTree().Dir("a", 0o755).Add(file("a/../../evil"), nil),
		"dotdot at the end":       testimage.NewTree().Dir("a/..", 0o755),
		"through a link out":      testimage.NewTree().Symlink("l", outside).Add(file("l/canary"), []byte("evil")),
		"through a relative link": testimage.NewTree().Symlink("l", "../../../../../.."+outside).Add(file("l/canary"), []byte("evil")),
		"hard link out":           testimage.NewTree().Link("h", canary),
		"hard link by dotdot":     testimage.NewTree().Link("h", "../../canary"),
		"hard link through a link": testimage.NewTree().Symlink("l", outside).
			Link("h", "l/canary"),
		"hard link to a link out, then write": testimage.NewTree().Symlink("l", canary).Link("h", "l").
			Dir("h/x", 0o755),
		"hard link to a directory": testimage.NewTree().Dir("d", 0o755).Link("h", "d"),
		"hard link to the root":    testimage.NewTree().Link("h", "/"),
		"hard link to nothing":     testimage.NewTree().Link("h", "none"),
		"hard link to a whiteout":  testimage.NewTree().File(".wh.w", 0, "").Link("h", "w"),
		"hard link takes its own target away": testimage.NewTree().Dir("d", 0o755).File("d/f", 0o644, "").
			Link("d", "d/f"),
		"below a file":               testimage.NewTree().File("f", 0o644, "").File("f/g", 0o644, ""),
		"below a device":             testimage.NewTree().Add(tar.Header{Typeflag: tar.TypeChar, Name: "n", Devmajor: 1, Devminor: 3}, nil).File("n/g", 0o644, ""),
		"whiteout device":            testimage.NewTree().Add(tar.Header{Typeflag: tar.TypeChar, Name: "n"}, nil),
		"whiteout of nothing":        testimage.NewTree().File("d/.wh.", 0, ""),
		"whiteout of dot":            testimage.NewTree().File("d/.wh..", 0, ""),
		"whiteout of dotdot":         testimage.NewTree().File("d/.wh...", 0, ""),
		"below a whiteout":           testimage.NewTree().File(".wh.d/f", 0, ""),
		"whiteout below a whiteout":  testimage.NewTree().File("a/.wh.d/.wh.f", 0, ""),
		"component of 256 bytes":     testimage.NewTree().File(strings.Repeat("x", 256), 0o644, ""),
		"name of 5000 bytes":         testimage.NewTree().File(strings.Repeat("x/", 2500)+"f", 0o644, ""),
		"name of 64 KiB":             testimage.NewTree().File(strings.Repeat("x/", 32<<10)+"f", 0o644, ""),
		"link to 5000 bytes":         testimage.NewTree().Symlink("l", strings.Repeat("x/", 2500)),
		"link to nothing":            testimage.NewTree().Symlink("l", ""),
		"root as a file":             testimage.NewTree().File(".", 0o644, ""),
		"root as a link":             testimage.NewTree().Symlink("/", "x"),
		"link loop":                  testimage.NewTree().Symlink("a", "b").Symlink("b", "a").File("a/f", 0o644, ""),
		"trusted xattr":              testimage.NewTree().Add(tar.Header{Typeflag: tar.TypeDir, Name: "d/", PAXRecords: map[string]string{"SCHILY.xattr.trusted.overlay.opaque": "y"}}, nil),
		"redirect xattr":             testimage.NewTree().Add(tar.Header{Typeflag: tar.TypeDir, Name: "d/", PAXRecords: map[string]string{"SCHILY.xattr.trusted.overlay.redirect": "/x"}}, nil),
		"user.overlay xattr":         testimage.NewTree().Add(tar.Header{Typeflag: tar.TypeDir, Name: "d/", PAXRecords: map[string]string{"SCHILY.xattr.user.overlay.opaque": "y"}}, nil),
		"bad capability":             testimage.NewTree().Add(tar.Header{Typeflag: tar.TypeReg, Name: "f", PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "bad"}}, nil),
		"uid of 2^32-1":              testimage.NewTree().Add(tar.Header{Typeflag: tar.TypeReg, Name: "f", Uid: 1<<32 - 1, Format: tar.FormatPAX}, nil),
		"gid of 2^40":                testimage.NewTree().Add(tar.Header{Typeflag: tar.TypeReg, Name: "f", Gid: 1 << 40, Format: tar.FormatPAX}, nil),
		"negative uid":               testimage.NewTree().Add(tar.Header{Typeflag: tar.TypeReg, Name: "f", Uid: -1, Format: tar.FormatGNU}, nil),
		"device number out of range": testimage.NewTree().Add(tar.Header{Typeflag: tar.TypeBlock, Name: "n", Devmajor: 1 << 12, Devminor: 0}, nil),
		"unknown type":               testimage.NewTree().Add(tar.Header{Typeflag: 'Z', Name: "z"}, nil),
	} {
		t.Run(name, func(t *testing.T) {
			root, _, err := unpackTo(t, bytes.NewReader(tarOf(t, tree)))
			if err == nil {
				t.Fatalf("unpacked to %s", root)
			}
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("not the layer's fault: %v", err)
			}
			t.Log(err)
		})
	}
	after := lstat(t, canary)
	if after != before {
		t.Errorf("canary changed: %+v", after)
	}
	if names, _ := os.ReadDir(outside); len(names) != 1 {
		t.Errorf("files appeared outside: %v", names)
	}
}

// TestUnpackInside: names that look like ways out and are none.
func TestUnpackInside(t *testing.T) {
	tree := testimage.NewTree().
		Dir("real", 0o755).
		Symlink("absolute", "/real").Symlink("up", "../../../real").
		File("absolute/a", 0o644, "a").File("up/b", 0o644, "b").File("///real/./c", 0o644, "c").
		File("...", 0o644, "dots").File("..x", 0o644, "dots").
		Link("h", "absolute/a")
	root, size, err := unpackTo(t, bytes.NewReader(tarOf(t, tree)))
	must(t, err)
	for _, name := range []string{"real/a", "real/b", "real/c", "...", "..x"} {
		lstat(t, filepath.Join(root, name))
	}
	if lstat(t, root+"/h").Ino != lstat(t, root+"/real/a").Ino {
		t.Error("h is no link to real/a")
	}
	checkSize(t, root, size)
}

// TestUnpackHardLinkKeepsMeta: a repeated name with a new mode must not reach the file the name was linked to (CVE-2021-32760).
func TestUnpackHardLinkKeepsMeta(t *testing.T) {
	tree := testimage.NewTree().
		File("secret", 0o600, "s").Link("h", "secret").
		Add(tar.Header{Typeflag: tar.TypeReg, Name: "h", Mode: 0o777, Uid: 5}, []byte("new")).
		Link("again", "secret").Link("again", "secret").Link("secret", "secret")
	root, size, err := unpackTo(t, bytes.NewReader(tarOf(t, tree)))
	must(t, err)
	if st := lstat(t, root+"/secret"); st.Mode != unix.S_IFREG|0o600 || st.Uid != 0 || st.Nlink != 2 {
		t.Errorf("secret: %o, owner %d, %d links", st.Mode, st.Uid, st.Nlink)
	}
	if st := lstat(t, root+"/h"); st.Mode != unix.S_IFREG|0o777 || st.Uid != 5 || st.Nlink != 1 {
		t.Errorf("h: %o, owner %d, %d links", st.Mode, st.Uid, st.Nlink)
	}
	checkSize(t, root, size)
}

// TestUnpackDuplicates: of several entries with one name the last counts, whatever the kinds.
func TestUnpackDuplicates(t *testing.T) {
	kinds := map[string]func(*testimage.Tree) *testimage.Tree{
		"file":    func(t *testimage.Tree) *testimage.Tree { return t.File("x", 0o640, "file") },
		"dir":     func(t *testimage.Tree) *testimage.Tree { return t.Dir("x", 0o750).File("x/in", 0o644, "in") },
		"symlink": func(t *testimage.Tree) *testimage.Tree { return t.Symlink("x", "y") },
		"link":    func(t *testimage.Tree) *testimage.Tree { return t.Link("x", "y") },
		"fifo": func(t *testimage.Tree) *testimage.Tree {
			return t.Add(tar.Header{Typeflag: tar.TypeFifo, Name: "x", Mode: 0o600}, nil)
		},
		"whiteout": func(t *testimage.Tree) *testimage.Tree { return t.File(".wh.x", 0, "") },
	}
	types := map[string]uint32{"file": unix.S_IFREG, "dir": unix.S_IFDIR, "symlink": unix.S_IFLNK, "link": unix.S_IFREG, "fifo": unix.S_IFIFO, "whiteout": unix.S_IFCHR}
	for a, first := range kinds {
		for b, second := range kinds {
			t.Run(a+" then "+b, func(t *testing.T) {
				tree := testimage.NewTree().File("y", 0o600, "y")
				root, size, err := unpackTo(t, bytes.NewReader(tarOf(t, second(first(tree)))))
				must(t, err)
				want := types[b]
				if b == "whiteout" && a != "whiteout" {
					want = types[a] // it hides the layers below alone
				}
				st := lstat(t, root+"/x")
				if st.Mode&unix.S_IFMT != want {
					t.Errorf("x is %o, want %o", st.Mode, want)
				}
				isDir := want == unix.S_IFDIR
				hides := (a == "whiteout") != (b == "whiteout")
				if got := xattr(root+"/x", opaqueXattr) == "y"; got != (isDir && hides) {
					t.Errorf("opaque: %v", got)
				}
				checkSize(t, root, size)
			})
		}
	}
}

func TestUnpackWhiteouts(t *testing.T) {
	tree := testimage.NewTree().
		File(".wh.gone", 0, "").
		File("deep/er/.wh.gone", 0, "").
		File("opaque/.wh..wh..opq", 0, "").File("opaque/.wh..wh..opq", 0, "").File("opaque/kept", 0o644, "k").
		File(".wh.reborn", 0, "").File("reborn/in/it", 0o644, "r").
		File(".wh..wh.plnk", 0, "")
	root, size, err := unpackTo(t, bytes.NewReader(tarOf(t, tree)))
	must(t, err)
	for _, name := range []string{"gone", "deep/er/gone"} {
		if st := lstat(t, filepath.Join(root, name)); !isWhiteout(&st) {
			t.Errorf("%s is %o", name, st.Mode)
		}
	}
	for _, name := range []string{"opaque", "reborn"} {
		if xattr(filepath.Join(root, name), opaqueXattr) != "y" {
			t.Errorf("%s is not opaque", name)
		}
	}
	if xattr(root+"/reborn/in", opaqueXattr) != "" || xattr(root+"/deep", opaqueXattr) != "" {
		t.Error("too much is opaque")
	}
	must(t, filepath.Walk(root, func(path string, _ os.FileInfo, err error) error {
		if strings.HasPrefix(filepath.Base(path), ".wh.") {
			t.Errorf("%s came through", path)
		}
		return err
	}))
	if size.opaqueRoot {
		t.Error("root is opaque")
	}
	checkSize(t, root, size)

	_, size, err = unpackTo(t, bytes.NewReader(tarOf(t, testimage.NewTree().Symlink("l", "/").File("l/.wh..wh..opq", 0, ""))))
	must(t, err)
	if !size.opaqueRoot {
		t.Error("root is not opaque")
	}
}

// TestUnpackBroken: what isn't a tar ends in an error, soon (CVE-2021-20291).
func TestUnpackBroken(t *testing.T) {
	whole := tarOf(t, testimage.NewTree().Dir("d", 0o755).File("d/f", 0o644, strings.Repeat("x", 5000)))
	random := bytes.Repeat([]byte("\x8bnot a tar at all\x00"), 300)
	for name, data := range map[string][]byte{
		"empty": nil, "one byte": {1}, "random": random, "in a header": whole[:700], "in a content": whole[:2000],
		"flipped": append([]byte{whole[0] ^ 1}, whole[1:]...),
	} {
		if _, _, err := unpackTo(t, bytes.NewReader(data)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestUnpackCancel: the context ends it within an entry too.
func TestUnpackCancel(t *testing.T) {
	s := newStore(t)
	must(t, s.root.Mkdir("tmp/tree", 0o755))
	tree, err := s.openTree("tmp/tree")
	must(t, err)
	defer tree.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var head bytes.Buffer
	w := tar.NewWriter(&head)
	must(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "big", Size: 1 << 40}))
	n := 0
	endless := readerFunc(func(p []byte) (int, error) {
		if n++; n == 50 {
			cancel()
		}
		return len(p), nil
	})
	_, err = s.unpack(ctx, io.MultiReader(&head, endless), tree, func(int64) {}, nil)
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
