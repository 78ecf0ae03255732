package registry

import (
	"archive/tar"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"podlet/hack/testimages/testimage"
)

// TestLayersInAnyOrder: whichever layer is complete first, each ends as the same tree, with its whiteouts, its opaque directories, and what
// the layers below say of directories that it has no entry for.
func TestLayersInAnyOrder(t *testing.T) {
	i := testimage.Image{}
	for n, tree := range []*testimage.Tree{
		testimage.NewTree().Dir("d/", 0o1777).File("d/f", 0o644, "lowest").Dir("gone/", 0o755).Dir("e/", 0o700).File("e/f", 0o600, "lowest"),
		testimage.NewTree().File("d/g", 0o644, strings.Repeat("middle", 5000)).File(".wh.gone", 0o644, "").File("e/g", 0o644, ""),
		testimage.NewTree().Add(tar.Header{Name: "e/", Typeflag: tar.TypeDir, Mode: 0o711, Uid: 7}, nil).File("e/.wh..wh..opq", 0o644, "").File("d/h", 0o644, ""),
	} {
		layer, err := tree.Layer([]testimage.Compression{testimage.Gzip, testimage.Zstd, testimage.None}[n])
		must(t, err)
		i.Layers = append(i.Layers, layer)
	}
	var first string
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		l, r := newLoopback(t, false), newRig(t)
		ref, _, _ := l.push(t, "app:v1", i)
		store := filepath.Join(filepath.Dir(r.certs), "store")
		// Each layer is sent once the one before it in the order is in its place.
		after := map[string]string{}
		for at, n := range order[1:] {
			blob, err := i.Layers[n].Blob()
			must(t, err)
			after[testimage.Digest(blob)] = filepath.Join(store, "layers", strings.TrimPrefix(testimage.Digest(i.Layers[order[at]].Tar), "sha256:"))
		}
		l.set(func(_ http.ResponseWriter, q *http.Request) bool {
			dir, ok := after[q.URL.Path[strings.LastIndexByte(q.URL.Path, '/')+1:]]
			for ok && q.Context().Err() == nil {
				if _, err := os.Stat(dir); err == nil {
					break
				}
				time.Sleep(time.Millisecond)
			}
			return false
		})
		img, err := r.Pull(background, ref, Credentials{})
		must(t, err)
		var all strings.Builder
		for _, dir := range img.LayerDirs() {
			all.WriteString(treeText(t, dir))
		}
		if first == "" {
			first = all.String()
		}
		if all.String() != first {
			t.Errorf("in the order %v:\n%swant\n%s", order, all.String(), first)
		}
	}
	// The middle layer has no entry for "d", nor for "e".
	for _, want := range []string{"d dtrwxrwxrwx 0 ", "e drwx--x--x 7 opaque", "gone Dc--------- 0"} {
		if !strings.Contains(first, want) {
			t.Errorf("no %q in\n%s", want, first)
		}
	}
}

// treeText has a line for each file below dir: name, mode, owner, mark.
func treeText(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	must(t, fs.WalkDir(os.DirFS(dir), ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, name), &st); err != nil {
			return err
		}
		fi, err := os.Lstat(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		mark := ""
		var value [2]byte
		if n, err := unix.Lgetxattr(filepath.Join(dir, name), "trusted.overlay.opaque", value[:]); err == nil && n > 0 {
			mark = "opaque"
		}
		_, err = fmt.Fprintln(&all, name, fi.Mode(), st.Uid, mark)
		return err
	}))
	return all.String()
}
