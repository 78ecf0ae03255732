package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"podlet/hack/testimages/testimage"
)

// TestDiskFull: an import on a full disk fails with ENOSPC and leaves nothing; removing works without any space.
func TestDiskFull(t *testing.T) {
	root := t.TempDir()
	must(t, unix.Mount("tmpfs", root, "tmpfs", 0, "size=4m,nr_inodes=200,mode=700"))
	t.Cleanup(func() { must(t, unix.Unmount(root, unix.MNT_DETACH)) })
	s, err := open(root, "boot-1")
	must(t, err)
	defer s.Close()
	s.HoldsComplete()
	held := importImage(t, s, simple(t, "podlet.test/held:1", strings.Repeat("x", 1<<20)))
	small := importImage(t, s, simple(t, "podlet.test/small:1", "x"))
	_, err = s.Hold(held.ID.String(), "c1")
	must(t, err)

	dir := t.TempDir()
	must(t, simple(t, "podlet.test/big:1", strings.Repeat("y", 8<<20)).WriteLayout(dir))
	_, err = s.Import(ctx, dir, ImportOptions{})
	if !errors.Is(err, unix.ENOSPC) || errors.Is(err, ErrInvalid) {
		t.Errorf("bytes: %v", err)
	}
	checkStore(t, s)
	inodes := testimage.NewTree()
	for n := range 300 {
		inodes.File(fmt.Sprint(n), 0o644, "")
	}
	dir = t.TempDir()
	must(t, testimage.Image{Names: []string{"podlet.test/inodes:1"}, Layers: []testimage.Layer{layerOf(t, inodes)}}.WriteLayout(dir))
	_, err = s.Import(ctx, dir, ImportOptions{})
	if !errors.Is(err, unix.ENOSPC) || errors.Is(err, ErrInvalid) {
		t.Errorf("inodes: %v", err)
	}
	checkStore(t, s)

	// Not a byte and not an inode left.
	fill := filepath.Join(root, "fill")
	f, err := os.Create(fill)
	must(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	f.Close()
	for n := 0; ; n++ {
		if err := os.Mkdir(fmt.Sprintf("%s%d", fill, n), 0o700); err != nil {
			break
		}
	}
	must(t, s.Remove(held.ID.String()))
	must(t, s.Remove(small.ID.String()))
	s.Release("c1")
	if len(s.List()) != 0 || s.FsInfo().Inodes != 0 {
		t.Errorf("%+v", s.FsInfo())
	}
	checkStore(t, s)
}
