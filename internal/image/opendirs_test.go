package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"podlet/hack/testimages/testimage"
)

func dirAt(name string, at int64) tar.Header {
	return tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: time.Unix(at, 0)}
}

// TestDirectoryTimes: a directory keeps its entry's time whatever is made in it later, in whatever order, and through a link.
func TestDirectoryTimes(t *testing.T) {
	tree := testimage.NewTree().
		Add(dirAt(".", 1000), nil).Add(dirAt("a", 2000), nil).Add(dirAt("b", 3000), nil).
		File("a/f", 0o644, "").Symlink("l", "a").File("b/f", 0o644, "").
		File("a/g", 0o644, "").File("l/h", 0o644, "").File("top", 0o644, "").
		File("b/new/f", 0o644, "").Link("a/twin", "b/f").Add(dirAt("c", 4000), nil).Add(dirAt("c", 5000), nil).
		File("c/.wh.x", 0, "")
	// Deeper than may be open at a time, and back up again.
	var deep []string
	for i := range 3 * maxOpenDirs {
		deep = append(deep, fmt.Sprint("d", i))
		tree.Add(dirAt(strings.Join(deep, "/"), int64(10_000+i)), nil)
	}
	for i := len(deep); i > 0; i-- {
		tree.File(strings.Join(deep[:i], "/")+"/f", 0o644, "x")
	}
	root, size, err := unpackTo(t, bytes.NewReader(tarOf(t, tree)))
	must(t, err)
	want := map[string]int64{".": 1000, "a": 2000, "b": 3000, "c": 5000}
	for i := range deep {
		want[strings.Join(deep[:i+1], "/")] = int64(10_000 + i)
	}
	for name, at := range want {
		if got := lstat(t, filepath.Join(root, name)).Mtim.Sec; got != at {
			t.Errorf("%s: %d, want %d", name, got, at)
		}
	}
	checkSize(t, root, size)
}

// TestDefaultACLReopened: a directory that is gone back to has its default ACL in the end, and what was made in it has none.
func TestDefaultACLReopened(t *testing.T) {
	acl := "\x02\x00\x00\x00" + // version
		"\x01\x00\x07\x00\xff\xff\xff\xff" + "\x04\x00\x05\x00\xff\xff\xff\xff" + "\x20\x00\x07\x00\xff\xff\xff\xff" // user, group, other
	d := dirAt("d", 1000)
	d.PAXRecords = map[string]string{"SCHILY.xattr.system.posix_acl_default": acl}
	again := dirAt("d", 2000)
	tree := testimage.NewTree().Add(d, nil).File("e/f", 0o644, "").File("d/f", 0o640, "").Dir("e/g", 0o755).Add(again, nil).Dir("d/g", 0o711).File("e/h", 0o644, "")
	root, _, err := unpackTo(t, bytes.NewReader(tarOf(t, tree)))
	must(t, err)
	if xattr(root+"/d", defaultACL) != acl {
		t.Error("d has lost its default ACL")
	}
	for name, mode := range map[string]uint32{"d/f": 0o640, "d/g": 0o711} {
		if st := lstat(t, filepath.Join(root, name)); st.Mode&0o7777 != mode || xattr(filepath.Join(root, name), defaultACL)+xattr(filepath.Join(root, name), "system.posix_acl_access") != "" {
			t.Errorf("%s: %o, or an ACL", name, st.Mode)
		}
	}
	if got := lstat(t, root+"/d").Mtim.Sec; got != 2000 {
		t.Errorf("d's time is %d", got)
	}
}

// TestOpenDirReplaced: a name that led to an open directory and leads elsewhere now is looked up again.
func TestOpenDirReplaced(t *testing.T) {
	tree := testimage.NewTree().
		Dir("real", 0o755).Symlink("here", ".").Symlink("l", "real").
		File("l/before", 0o644, "").
		Dir("here/l", 0o755). // the link "l" is a directory now
		File("l/after", 0o644, "")
	root, size, err := unpackTo(t, bytes.NewReader(tarOf(t, tree)))
	must(t, err)
	for _, name := range []string{"real/before", "l/after"} {
		if _, err := os.Lstat(filepath.Join(root, name)); err != nil {
			t.Error(err)
		}
	}
	checkSize(t, root, size)

	// All directories are closed, and the next entry makes one in the root, which keeps its time.
	root, _, err = unpackTo(t, bytes.NewReader(tarOf(t, testimage.NewTree().Add(dirAt(".", 1000), nil).File("f", 0o644, "").File("f", 0o600, "").File("new/f", 0o644, ""))))
	must(t, err)
	if got := lstat(t, root).Mtim.Sec; got != 1000 {
		t.Errorf("the root's time is %d", got)
	}

	// By way of a link the directory goes away that the last entry went into.
	tree = testimage.NewTree().Dir("d", 0o755).Symlink("d/root", "/").File("d/root/d", 0o644, "a file now").File("d/f", 0o644, "")
	if _, _, err = unpackTo(t, bytes.NewReader(tarOf(t, tree))); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Error(err)
	}
}
