package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"podlet/hack/testimages/testimage"
	"podlet/internal/mount"
)

const oneUser = "app:x:1000:1000::/home/app:/bin/sh\n"

// TestUsersOfTree finds /etc/passwd where a container would, in images of several layers.
func TestUsersOfTree(t *testing.T) {
	chain := func(n int) *testimage.Tree {
		tr := testimage.NewTree().Dir("etc", 0o755).File("real", 0o644, oneUser).Symlink("etc/l0", "/real")
		for i := 1; i < n-1; i++ {
			tr.Symlink(fmt.Sprintf("etc/l%d", i), fmt.Sprintf("/etc/l%d", i-1))
		}
		return tr.Symlink("etc/passwd", fmt.Sprintf("l%d", n-2))
	}
	plain := func() *testimage.Tree {
		return testimage.NewTree().Dir("etc", 0o755).File("etc/passwd", 0o644, oneUser)
	}
	for name, c := range map[string]struct {
		layers []*testimage.Tree
		want   string // "found", "absent", or a part of the problem
	}{
		"plain":             {[]*testimage.Tree{plain()}, "found"},
		"unreadable mode":   {[]*testimage.Tree{testimage.NewTree().File("etc/passwd", 0, oneUser)}, "found"},
		"absent":            {[]*testimage.Tree{testimage.NewTree().Dir("etc", 0o755)}, "absent"},
		"etc is a file":     {[]*testimage.Tree{testimage.NewTree().File("etc", 0o644, "")}, "absent"},
		"absolute link":     {[]*testimage.Tree{testimage.NewTree().File("nix/store/x", 0o644, oneUser).Symlink("etc/passwd", "/nix/store/x")}, "found"},
		"link of directory": {[]*testimage.Tree{testimage.NewTree().File("system/etc/passwd", 0o644, oneUser).Symlink("etc", "/system/etc")}, "found"},
		"link beyond root":  {[]*testimage.Tree{testimage.NewTree().File("x", 0o644, oneUser).Symlink("etc/passwd", "../../../../../x")}, "found"},
		"dangling link":     {[]*testimage.Tree{testimage.NewTree().Symlink("etc/passwd", "/none")}, "absent"},
		"host's file":       {[]*testimage.Tree{testimage.NewTree().Symlink("etc/passwd", "/proc/self/root/etc/passwd")}, "absent"},
		"40 links":          {[]*testimage.Tree{chain(40)}, "found"},
		"41 links":          {[]*testimage.Tree{chain(41)}, "links"},
		"loop":              {[]*testimage.Tree{testimage.NewTree().Symlink("etc/passwd", "/etc/b").Symlink("etc/b", "passwd")}, "links"},
		"fifo":              {[]*testimage.Tree{testimage.NewTree().Add(tar.Header{Typeflag: tar.TypeFifo, Name: "etc/passwd", Mode: 0o644}, nil)}, "not a regular file"},
		"zero device":       {[]*testimage.Tree{testimage.NewTree().Add(tar.Header{Typeflag: tar.TypeChar, Name: "etc/passwd", Mode: 0o644, Devmajor: 1, Devminor: 5}, nil)}, "not a regular file"},
		"directory":         {[]*testimage.Tree{testimage.NewTree().Dir("etc/passwd", 0o755)}, "not a regular file"},
		"too large":         {[]*testimage.Tree{testimage.NewTree().File("etc/passwd", 0o644, strings.Repeat(oneUser, 40000))}, "at most"},
		"lower layer":       {[]*testimage.Tree{plain(), testimage.NewTree().File("etc/other", 0o644, "")}, "found"},
		"replaced":          {[]*testimage.Tree{testimage.NewTree().File("etc/passwd", 0o644, "old"), plain()}, "found"},
		"whiteout":          {[]*testimage.Tree{plain(), testimage.NewTree().File("etc/.wh.passwd", 0, "")}, "absent"},
		"opaque directory":  {[]*testimage.Tree{plain(), testimage.NewTree().File("etc/.wh..wh..opq", 0, "")}, "absent"},
		"opaque root":       {[]*testimage.Tree{plain(), testimage.NewTree().File(".wh..wh..opq", 0, "").Dir("etc", 0o755)}, "absent"},
		"directory reborn":  {[]*testimage.Tree{plain(), testimage.NewTree().File(".wh.etc", 0, "").Dir("etc", 0o755)}, "absent"},
		"link over a layer": {[]*testimage.Tree{testimage.NewTree().File("nix/x", 0o644, oneUser), testimage.NewTree().Symlink("etc/passwd", "/nix/x")}, "found"},
		"same layer twice":  {[]*testimage.Tree{plain(), testimage.NewTree().File("x", 0o644, ""), plain()}, "found"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			i := testimage.Image{Names: []string{"podlet.test/users:1"}}
			for _, l := range c.layers {
				i.Layers = append(i.Layers, layerOf(t, l))
			}
			img := importImage(t, s, i)
			u, err := s.Users(img.ID)
			must(t, err)
			id, err := u.Resolve(UserRequest{ImageUser: "app"})
			switch c.want {
			case "found":
				if err != nil || id.UID != 1000 {
					t.Errorf("%+v, %v", id, err)
				}
			case "absent":
				if err == nil || !strings.Contains(err.Error(), "the image has none") {
					t.Errorf("%+v, %v", id, err)
				}
			default:
				if err == nil || !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%+v, %v", id, err)
				}
			}
			// The same after a restart.
			s = reopen(t, s, "boot-1")
			again, err := s.Users(img.ID)
			must(t, err)
			if string(again.passwd.data) != string(u.passwd.data) || again.passwd.problem != u.passwd.problem {
				t.Error("another file after a restart")
			}
		})
	}
}

// TestUsersSparse: a file of 4 GiB that takes no room in the layer is judged by its size, not read.
func TestUsersSparse(t *testing.T) {
	root, err := os.Open(t.TempDir())
	must(t, err)
	defer root.Close()
	must(t, os.Mkdir(filepath.Join(root.Name(), "etc"), 0o755))
	path := filepath.Join(root.Name(), "etc/group")
	must(t, os.WriteFile(path, nil, 0o644))
	must(t, os.Truncate(path, 4<<30))
	f, err := readUserFile(root, "/etc/group")
	must(t, err)
	if f.problem == "" || f.data != nil {
		t.Errorf("%+v", f.problem)
	}
}

// TestMergedTree mounts what LayerDirs gives and holds it to the layers applied one after the other.
func TestMergedTree(t *testing.T) {
	s := newStore(t)
	img := importImage(t, s, testimage.Image{Names: []string{"podlet.test/merged:1"}, Layers: []testimage.Layer{
		layerOf(t, testimage.NewTree().File("a/old", 0o644, "1").File("a/gone", 0o644, "1").File("b/x", 0o644, "1").File("c/x", 0o644, "1").File("f", 0o644, "1").File("dir/x", 0o644, "1")),
		layerOf(t, testimage.NewTree().File("a/.wh.gone", 0, "").File("a/new", 0o644, "2").File("b/.wh..wh..opq", 0, "").File("b/y", 0o644, "2").File(".wh.c", 0, "").Symlink("dir", "a")),
		layerOf(t, testimage.NewTree().File("a/old", 0o600, "3").File("c/y", 0o644, "3").Dir("f", 0o755).File("f/g", 0o644, "3")),
	}})
	m, err := mount.New(t.TempDir(), mount.WayAuto)
	must(t, err)
	defer m.Close()
	root, err := m.Overlay(mount.OverlayConfig{Lower: img.LayerDirs()})
	must(t, err)
	defer root.Close()
	var got []string
	base := procFD(int(root.Fd())) + "/."
	must(t, filepath.WalkDir(base, func(path string, d os.DirEntry, err error) error {
		if err == nil && path != base {
			name := strings.TrimPrefix(path, strings.TrimSuffix(base, "."))
			if d.Type().IsRegular() {
				data, _ := os.ReadFile(path)
				name += "=" + string(data)
			}
			got = append(got, name)
		}
		return err
	}))
	want := "a a/new=2 a/old=3 b b/y=2 c c/y=3 dir f f/g=3"
	if strings.Join(got, " ") != want {
		t.Errorf("%s\nwant\n%s", strings.Join(got, " "), want)
	}
}

// TestHundredAndTwentyLayers: no limit of a page of mount options, no place of the same layer twice.
func TestHundredAndTwentyLayers(t *testing.T) {
	s := newStore(t)
	i := testimage.Image{Names: []string{"podlet.test/many:1"}}
	empty := layerOf(t, testimage.NewTree().Dir("empty", 0o755))
	for n := range 120 {
		i.Layers = append(i.Layers, layerOf(t, testimage.NewTree().File(fmt.Sprintf("f%d", n), 0o644, oneUser)), empty)
	}
	i.Layers = append(i.Layers, layerOf(t, testimage.NewTree().Symlink("etc/passwd", "/f0")))
	img := importImage(t, s, i)
	if n := len(img.LayerDirs()); n != 122 {
		t.Errorf("%d directories", n)
	}
	u, err := s.Users(img.ID)
	must(t, err)
	if _, err := u.Resolve(UserRequest{ImageUser: "app"}); err != nil {
		t.Error(err)
	}
	must(t, s.Remove(img.ID.String()))
	checkStore(t, s)
}

// TestLayerTree: what a layer is unpacked through is a mount of its own: even a lookup that would follow anything stays in it.
func TestLayerTree(t *testing.T) {
	s := newStore(t)
	must(t, s.root.Mkdir("tmp/tree", 0o755))
	tree, err := s.openTree("tmp/tree")
	must(t, err)
	defer tree.Close()
	up, err := unix.Openat(int(tree.Fd()), "../../..", unix.O_PATH|unix.O_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(up)
	var inside, outside unix.Stat_t
	must(t, unix.Fstat(up, &inside))
	must(t, unix.Stat(filepath.Join(s.path, "tmp/tree"), &outside))
	if inside.Ino != outside.Ino {
		t.Error("\"..\" leads out of it")
	}
	if _, err := s.Import(context.Background(), t.TempDir(), ImportOptions{}); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}
