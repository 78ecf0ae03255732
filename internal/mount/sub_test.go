package mount

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSub: directories and files of an overlay, and links that would lead out of it.
func TestSub(t *testing.T) {
	eachWay(t, cloneDetached, func(t *testing.T, m *Mounter) {
		c := layers(t, 2)
		c.Upper, c.Work = "", ""
		outside := t.TempDir()
		write(t, filepath.Join(outside, "file"), "outside")
		must(t, os.MkdirAll(filepath.Join(c.Lower[0], "a/b"), 0o755))
		must(t, os.MkdirAll(filepath.Join(c.Lower[1], "a/b"), 0o755))
		write(t, filepath.Join(c.Lower[0], "a/b/file"), "upper")
		write(t, filepath.Join(c.Lower[1], "a/b/other"), "lower")
		for name, target := range map[string]string{"link": "/a/b", "up": "../../../a", "out": outside, "loop": "loop"} {
			must(t, os.Symlink(target, filepath.Join(c.Lower[1], name)))
		}
		sub := func(path string) (*os.File, bool, error) {
			mnt := closed(t)(m.Overlay(c))
			return m.Sub(mnt, path)
		}
		for _, path := range []string{"a/b", "link", "up/b", "a/../link/"} {
			f, isDir, err := sub(path)
			if err != nil || !isDir {
				t.Errorf("%s: directory %v, %v", path, isDir, err)
				continue
			}
			root := attach(t, f)
			if got := read(t, filepath.Join(root, "file")) + read(t, filepath.Join(root, "other")); got != "upperlower" {
				t.Errorf("%s: %q", path, got)
			}
			if err := os.WriteFile(filepath.Join(root, "new"), nil, 0o644); !errors.Is(err, unix.EROFS) {
				t.Errorf("%s: write: %v", path, err)
			}
			f.Close()
		}
		f, isDir, err := sub("link/file")
		if err != nil || isDir {
			t.Fatalf("a file: directory %v, %v", isDir, err)
		}
		defer f.Close()
		if got := read(t, attach(t, f)); got != "upper" {
			t.Errorf("a file: %q", got)
		}
		for path, want := range map[string]error{"none": fs.ErrNotExist, "out": fs.ErrNotExist, "out/file": fs.ErrNotExist, "same/x": unix.ENOTDIR, "loop": unix.ELOOP} {
			if f, _, err := sub(path); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", path, err, want)
				if err == nil {
					f.Close()
				}
			}
		}
	})
}
