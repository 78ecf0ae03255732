package testimage

import (
	"archive/tar"
	"bytes"
	"time"
)

// Tree builds a layer's tar, entry by entry. Times are fixed, so that equal trees are equal bytes.
type Tree struct {
	b   bytes.Buffer
	w   *tar.Writer
	err error
}

// NewTree begins an empty layer.
func NewTree() *Tree {
	t := &Tree{}
	t.w = tar.NewWriter(&t.b)
	return t
}

// Time is the modification time of everything in a Tree.
var Time = time.Unix(1_700_000_000, 0)

// Add adds an entry of any kind; the size is the body's. A zero ModTime becomes Time.
func (t *Tree) Add(h tar.Header, body []byte) *Tree {
	if t.err != nil {
		return t
	}
	if h.ModTime.IsZero() {
		h.ModTime = Time
	}
	h.Size = int64(len(body))
	if t.err = t.w.WriteHeader(&h); t.err == nil {
		_, t.err = t.w.Write(body)
	}
	return t
}

// Dir adds a directory of root's.
func (t *Tree) Dir(name string, mode int64) *Tree {
	return t.Add(tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode}, nil)
}

// File adds a regular file of root's.
func (t *Tree) File(name string, mode int64, body string) *Tree {
	return t.Add(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode}, []byte(body))
}

// Symlink adds a symbolic link.
func (t *Tree) Symlink(name, target string) *Tree {
	return t.Add(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, nil)
}

// Link adds a hard link.
func (t *Tree) Link(name, target string) *Tree {
	return t.Add(tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o644}, nil)
}

// Layer ends the tree.
func (t *Tree) Layer(c Compression) (Layer, error) {
	if t.err == nil {
		t.err = t.w.Close()
	}
	return Layer{Tar: t.b.Bytes(), Compression: c}, t.err
}
