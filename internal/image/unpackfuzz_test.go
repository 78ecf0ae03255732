package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"podlet/hack/testimages/testimage"
)

// fuzzStore is a store for all inputs of one fuzzing process, with a canary beside it.
func fuzzStore(f *testing.F) (s *Store, canary string) {
	dir := f.TempDir()
	s, err := open(filepath.Join(dir, "store"), "boot-1")
	must(f, err)
	f.Cleanup(func() { s.Close() })
	canary = filepath.Join(dir, "canary")
	must(f, os.WriteFile(canary, []byte("mine"), 0o600))
	return s, canary
}

// fuzzUnpack unpacks and checks what must hold for any input.
func fuzzUnpack(t *testing.T, s *Store, canary string, data []byte) {
	before := lstat(t, canary)
	name := s.newTmp()
	must(t, s.root.Mkdir(name, 0o755))
	root := filepath.Join(s.path, name)
	tree, err := s.openTree(name)
	must(t, err)
	size, err := s.unpack(ctx, bytes.NewReader(data), tree, func(int64) {}, nil)
	must(t, tree.Close())
	if err != nil && !errors.Is(err, ErrInvalid) {
		t.Errorf("not the layer's fault: %v", err)
	}
	if err == nil {
		checkSize(t, root, size)
	}
	if lstat(t, canary) != before {
		t.Error("canary changed")
	}
	must(t, s.root.RemoveAll(name))
	names, err := os.ReadDir(filepath.Dir(canary))
	must(t, err)
	if len(names) != 2 {
		t.Errorf("files appeared outside: %v", names)
	}
}

// FuzzUnpackBytes takes the input as the tar.
func FuzzUnpackBytes(f *testing.F) {
	s, canary := fuzzStore(f)
	f.Add(tarOf(f, testimage.NewTree().Dir("d", 0o755).File("d/f", 0o644, "x").Symlink("l", "../d").Link("h", "d/f").File("d/.wh.x", 0, "")))
	f.Add(tarOf(f, testimage.NewTree().Add(tar.Header{Typeflag: tar.TypeDir, Name: "d/", PAXRecords: map[string]string{"SCHILY.xattr.user.x": "y"}}, nil)))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 64<<10 {
			return
		}
		fuzzUnpack(t, s, canary, data)
	})
}

// FuzzUnpackEntries makes a well-formed tar of the input, of few names, so that entries meet each other: four bytes an entry (kind, name, second name, mode).
func FuzzUnpackEntries(f *testing.F) {
	s, canary := fuzzStore(f)
	parts := []string{"a", "b", "..", ".", "", ".wh.a", ".wh.b", ".wh..wh..opq", "c", "canary"}
	name := func(b byte) string {
		// Up to three components of the ten.
		n := int(b)
		var p []string
		for range n%3 + 1 {
			p = append(p, parts[n%len(parts)])
			n /= 3
		}
		return strings.Join(p, "/")
	}
	kinds := []byte{tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink, tar.TypeFifo, tar.TypeChar}
	f.Add([]byte{2, 0, 2, 0, 0, 3, 0, 7})
	f.Add([]byte{1, 0, 0, 0, 0, 3, 0, 7, 3, 8, 3, 0, 2, 3, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 400 {
			return
		}
		tree := testimage.NewTree()
		for ; len(data) >= 4; data = data[4:] {
			h := tar.Header{Typeflag: kinds[int(data[0])%len(kinds)], Name: name(data[1]), Mode: int64(data[3]) << 4, Devmajor: 1, Devminor: 3}
			switch h.Typeflag {
			case tar.TypeSymlink, tar.TypeLink:
				h.Linkname = name(data[2])
				if data[3]&1 == 1 {
					h.Linkname = "/" + h.Linkname
				}
			case tar.TypeDir:
				h.Name += "/"
			case tar.TypeReg:
				h.Name = strings.TrimRight(h.Name, "/")
			}
			if h.Name == "" || h.Name == "/" {
				continue
			}
			tree.Add(h, nil)
		}
		l, err := tree.Layer(testimage.None)
		if err != nil {
			return // a name Go's writer can't encode
		}
		fuzzUnpack(t, s, canary, l.Tar)
	})
}
