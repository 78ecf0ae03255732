package image

import (
	"archive/tar"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"podlet/hack/testimages/testimage"
	"podlet/internal/mount"
)

// merged mounts the image's layers and gives a path to them.
func merged(t *testing.T, i Image) string {
	t.Helper()
	m, err := mount.New(t.TempDir(), mount.WayAuto)
	must(t, err)
	root, err := m.Overlay(mount.OverlayConfig{Lower: i.LayerDirs()})
	must(t, err)
	t.Cleanup(func() { root.Close(); m.Close() })
	return procFD(int(root.Fd()))
}

// TestImplicitDirectories: a directory that a layer has no entry for is, in the merged tree, the one of the layers below.
func TestImplicitDirectories(t *testing.T) {
	acl := "\x02\x00\x00\x00\x01\x00\x07\x00\xff\xff\xff\xff\x04\x00\x05\x00\xff\xff\xff\xff\x20\x00\x07\x00\xff\xff\xff\xff"
	bottom := testimage.NewTree().
		Dir(".", 0o555).
		Dir("tmp", 0o1777).
		Add(tar.Header{Typeflag: tar.TypeDir, Name: "home/app/", Mode: 0o2750, Uid: 1000, Gid: 1001, PAXRecords: map[string]string{"SCHILY.xattr.user.note": "n", "SCHILY.xattr.system.posix_acl_default": acl}}, nil).
		Dir("own", 0o700).Dir("gone", 0o700).Dir("gone/in", 0o711).Dir("cleared", 0o700).Dir("cleared/in", 0o711).
		Dir("\xff\xfe", 0o710)
	top := testimage.NewTree().
		File("tmp/f", 0o644, "").
		File("home/app/f", 0o644, "").
		File("own/f", 0o644, "").Dir("own", 0o750).
		File(".wh.gone", 0, "").File("gone/in/f", 0o644, "").
		File("cleared/.wh..wh..opq", 0, "").File("cleared/in/f", 0o644, "").
		File("\xff\xfe/f", 0o644, "").
		File("new/dir/f", 0o644, "")
	i := testimage.Image{Names: []string{"podlet.test/implicit:1"}, Layers: []testimage.Layer{layerOf(t, bottom), layerOf(t, top)}}
	s := newStore(t)
	img := importImage(t, s, i)
	check := func(img Image) {
		t.Helper()
		root := merged(t, img)
		for name, want := range map[string]string{
			"/.": "555 0:0", "/tmp": "1777 0:0", "/home": "755 0:0", "/home/app": "2750 1000:1001",
			"/own": "750 0:0", "/gone": "755 0:0", "/gone/in": "755 0:0", "/cleared": "700 0:0", "/cleared/in": "755 0:0",
			"/new": "755 0:0", "/new/dir": "755 0:0", "/\xff\xfe": "710 0:0",
			"/tmp/f": "644 0:0",
		} {
			st := lstat(t, root+name)
			if got := fmt.Sprintf("%o %d:%d", st.Mode&0o7777, st.Uid, st.Gid); got != want {
				t.Errorf("%q: %s, want %s", name, got, want)
			}
		}
		if st := lstat(t, root+"/tmp"); st.Mtim.Sec != testimage.Time.Unix() {
			t.Errorf("tmp: mtime %d", st.Mtim.Sec)
		}
		if xattr(root+"/home/app", "user.note") != "n" || xattr(root+"/home/app", "system.posix_acl_default") != acl {
			t.Error("attributes of home/app are lost")
		}
	}
	check(img)
	waitDurable(t, s)
	s.mu.Lock()
	for _, l := range s.mu.layers {
		if len(l.Implicit) > 0 {
			t.Errorf("%s is not settled", l.DiffID)
		}
	}
	s.mu.Unlock()
	s = reopen(t, s, "boot-2")
	again, err := s.Get(img.ID.String())
	must(t, err)
	check(again)
}

// TestSettleUnsettlesDurable: a layer that was on the disk and changed since is not taken for durable.
func TestSettleUnsettlesDurable(t *testing.T) {
	s := newStore(t)
	layers := []testimage.Layer{
		layerOf(t, testimage.NewTree().Dir("tmp", 0o1777)),
		layerOf(t, testimage.NewTree().File("tmp/f", 0o644, "")),
	}
	alone := importImage(t, s, testimage.Image{Names: []string{"podlet.test/alone:1"}, Layers: layers[1:]})
	waitDurable(t, s)
	l := s.mu.layers[s.mu.images[alone.ID].Layers[0]]
	l.Implicit = [][]byte{[]byte("/tmp")}
	changes := l.changes
	must(t, s.settleLayer(l, nil))
	if l.durable {
		t.Error("durable all the same")
	}
	if _, err := os.Lstat(s.path + "/" + l.dir() + "/" + fileDurable); err == nil {
		t.Error("the mark is still there")
	}
	s.markDurable(l.DiffID, changes) // of a syncfs that came before
	if l.durable {
		t.Error("durable by an older sync")
	}
	s.wakeSync()
	waitDurable(t, s)
}

// TestImplicitBound: very many such directories end in less memory, not in an error.
func TestImplicitBound(t *testing.T) {
	tree := testimage.NewTree()
	for n := range 2600 {
		tree.File(fmt.Sprintf("%s%d/f", strings.Repeat("x", 200), n), 0o644, "")
	}
	root, size, err := unpackTo(t, strings.NewReader(string(tarOf(t, tree))))
	must(t, err)
	total := 0
	for _, p := range size.implicit {
		total += len(p)
	}
	if total > maxImplicitBytes || total < maxImplicitBytes/2 {
		t.Errorf("%d bytes noted", total)
	}
	if st := lstat(t, root+"/"+strings.Repeat("x", 200)+"2599"); st.Mode != unix.S_IFDIR|0o755 {
		t.Errorf("%o", st.Mode)
	}
}
