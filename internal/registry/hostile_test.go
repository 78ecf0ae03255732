package registry

import (
	"archive/tar"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"podlet/hack/testimages/testimage"
	"podlet/internal/image"
)

// TestCVE_C2_C5_C6: layers that want out, or to cost more than they weigh, come by a pull. The image store's own tests have many more of them; here they are
// shown to have the same end: an error of that pull, nothing outside, nothing left, and the next pull works.
func TestCVE_C2_C5_C6(t *testing.T) {
	r := newRig(t)
	outside := filepath.Dir(r.certs)
	canary := filepath.Join(outside, "canary")
	must(t, os.WriteFile(canary, []byte("mine"), 0o600))
	look := func() string {
		var st unix.Stat_t
		must(t, unix.Lstat(canary, &st))
		data, err := os.ReadFile(canary)
		must(t, err)
		entries, err := os.ReadDir(outside)
		must(t, err)
		return fmt.Sprint(st.Ino, st.Mode, st.Uid, st.Nlink, st.Mtim, st.Ctim, string(data), len(entries))
	}
	before := look()
	l := newLoopback(t, false)
	n := 0
	pull := func(tree *testimage.Tree) (image.Image, error) {
		n++
		layer, err := tree.Layer(testimage.Gzip)
		must(t, err)
		ref, _, _ := l.push(t, fmt.Sprintf("app:v%d", n), testimage.Image{Layers: []testimage.Layer{layer}})
		return r.Pull(background, ref, Credentials{})
	}
	evil := []byte("evil")
	write := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o777} }
	for name, tree := range map[string]*testimage.Tree{
		"dotdot":                       testimage.NewTree().Add(write("../../../../canary"), evil),
		"through a link":               testimage.NewTree().Symlink("l", outside).Add(write("l/canary"), evil),
		"hard link out, then its mode": testimage.NewTree().Link("h", canary).Add(write("h"), evil),
		"hard link through a link":     testimage.NewTree().Symlink("l", outside).Link("h", "l/canary").Add(write("h"), evil),
		"marks of overlayfs":           testimage.NewTree().Add(tar.Header{Typeflag: tar.TypeDir, Name: "d/", PAXRecords: map[string]string{"SCHILY.xattr.trusted.overlay.redirect": "/x"}}, nil),
	} {
		if img, err := pull(tree); !errors.Is(err, image.ErrInvalid) {
			t.Errorf("%s: %v, %v", name, img.LayerDirs(), err)
		}
	}
	if list := r.Images.List(); len(list) != 0 {
		t.Errorf("there are images: %v", list)
	}
	// Above a layer's root there is its root.
	img, err := pull(testimage.NewTree().Symlink("l", "../../../..").Add(write("l/canary"), evil))
	must(t, err)
	if data, err := os.ReadFile(filepath.Join(img.LayerDirs()[0], "canary")); string(data) != "evil" {
		t.Errorf("through a relative link: %q, %v", data, err)
	}
	// Many opaque marks, in one directory and in many: each is one attribute, whatever is in the layers below (CVE-2026-95838).
	opaque := testimage.NewTree()
	for i := range 1000 {
		opaque.File("d/.wh..wh..opq", 0, "").File(fmt.Sprintf("e%d/.wh..wh..opq", i), 0, "")
	}
	_, err = pull(opaque)
	must(t, err)
	if after := look(); after != before {
		t.Errorf("outside it was\n%s\nand is\n%s", before, after)
	}
}
