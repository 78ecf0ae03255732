package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"podlet/hack/testimages/testimage"
)

// everyKind is an image whose layers have whatever a tar can have: GNU tar's own of every format, sparse files, records of its blocking factor, whiteouts before and after, bodies where
// nobody wants one, and bytes after the archive's end.
func everyKind(t *testing.T) testimage.Image {
	source := makeTree(t)
	i := testimage.Image{Names: []string{"podlet.test/every:kind", "podlet.test/other:name"}, Config: testimage.Config{User: "0", Volumes: map[string]struct{}{"/v": {}}}}
	for _, args := range [][]string{
		{"--format=gnu", "-b", "20"}, {"--format=gnu", "--sparse"}, {"--format=posix", "--xattrs", "--xattrs-include=*"}, {"--format=posix", "--sparse"}, {"--format=oldgnu"},
	} {
		packed, err := exec.Command("tar", append(args, "--numeric-owner", "-C", source, "-c", ".")...).Output()
		must(t, err)
		i.Layers = append(i.Layers, testimage.Layer{Tar: packed, Compression: testimage.Gzip})
	}
	tree := testimage.NewTree().Dir("d", 0o755).File("d/.wh.gone", 0o600, "a body of a whiteout").File(".wh.a", 0o600, "").Dir("a", 0o700).File("a/new", 0o644, strings.Repeat("n", 100_000)).
		Dir("q", 0o755).File("q/.wh..wh..opq", 0, "").File("q/f", 0o644, "")
	last := layerOf(t, tree)
	var global bytes.Buffer
	w := tar.NewWriter(&global)
	must(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "global"}}))
	must(t, w.Flush())
	last.Tar = slices.Concat(global.Bytes(), last.Tar, bytes.Repeat([]byte("after the end"), 10_000))
	last.Compression = testimage.Zstd
	i.Layers = append(i.Layers, last)
	return i
}

// TestExport: what is exported is the same image: its id, its names, every layer's tar; imported elsewhere, it is the same tree. Exported again, it is the same bytes.
func TestExport(t *testing.T) {
	image := everyKind(t)
	id, err := image.ID()
	must(t, err)
	s := newStore(t)
	img := importImage(t, s, image)
	for _, l := range s.mu.layers {
		if l.Headers == 0 {
			t.Errorf("layer %s has no headers: %s", l.DiffID, l.NoHeaders)
		}
	}
	for _, c := range []Compression{Uncompressed, Gzip, Zstd} {
		var first, second bytes.Buffer
		told := 0
		must(t, s.ExportTar(ctx, &first, []string{id}, ExportOptions{Compression: c, Progress: func(p LayerProgress) {
			if p.Done {
				told++
			}
		}}))
		if told != len(image.Layers) {
			t.Errorf("%d layers were told of", told)
		}
		other := newStore(t)
		var got []Image
		if c == Gzip {
			dir := filepath.Join(t.TempDir(), "layout")
			must(t, s.ExportDir(ctx, dir, []string{id}, ExportOptions{Compression: c}))
			got, err = other.Import(ctx, dir, ImportOptions{})
		} else {
			got, err = other.ImportReader(ctx, bytes.NewReader(first.Bytes()), ImportOptions{})
		}
		must(t, err)
		if len(got) != 1 || got[0].ID.String() != id || !slices.Equal(got[0].Tags, img.Tags) {
			t.Fatalf("%q: %+v", c, got)
		}
		for n, dir := range got[0].LayerDirs() {
			if a, b := describeLayer(t, img.LayerDirs()[n]), describeLayer(t, dir); a != b {
				t.Errorf("%q, layer %d:\n%s\nand\n%s", c, n, a, b)
			}
		}
		must(t, other.ExportTar(ctx, &second, []string{id}, ExportOptions{Compression: c}))
		if !bytes.Equal(first.Bytes(), second.Bytes()) {
			t.Errorf("%q: exported again, it is other bytes", c)
		}
	}
	checkStore(t, s)
}

// describeLayer is describe without the times of whiteouts, which have none.
func describeLayer(t *testing.T, dir string) string {
	return regexp.MustCompile(`(" 20000 0:0) \d+\.\d+`).ReplaceAllString(describe(t, dir), "$1")
}

// TestExportNames: the names that are asked for are those that the export has; several images share their layers' blobs; "docker load" finds its manifest.json.
func TestExportNames(t *testing.T) {
	s := newStore(t)
	shared := layerOf(t, testimage.NewTree().File("shared", 0o644, strings.Repeat("s", 1<<20)))
	a := testimage.Image{Names: []string{"podlet.test/a:1", "podlet.test/a:2"}, Layers: []testimage.Layer{shared}}
	b := testimage.Image{Names: []string{"podlet.test/b:1"}, Layers: []testimage.Layer{shared, layerOf(t, testimage.NewTree().File("b", 0o644, "b"))}}
	importImage(t, s, a)
	importImage(t, s, b)
	var out bytes.Buffer
	must(t, s.ExportTar(ctx, &out, []string{"podlet.test/a:2", "podlet.test/b:1", "podlet.test/a:2"}, ExportOptions{}))
	if out.Len() > 1<<20+64<<10 {
		t.Errorf("%d bytes: the shared layer stands twice", out.Len())
	}
	other := newStore(t)
	got, err := other.ImportReader(ctx, bytes.NewReader(out.Bytes()), ImportOptions{})
	must(t, err)
	if len(got) != 2 || !slices.Equal(got[0].Tags, []string{"podlet.test/a:2"}) || !slices.Equal(got[1].Tags, []string{"podlet.test/b:1"}) {
		t.Errorf("%+v", got)
	}
	file := filepath.Join(t.TempDir(), "docker.tar")
	must(t, os.WriteFile(file, out.Bytes(), 0o600))
	f, err := os.Open(file)
	must(t, err)
	archive, err := openTarArchive(ctx, f)
	must(t, err)
	defer archive.Close()
	docker, err := readDockerArchive(archive)
	must(t, err)
	if len(docker) != 2 || !slices.Equal(docker[0].names, []string{"podlet.test/a:2"}) || len(docker[1].layers) != 2 {
		t.Errorf("manifest.json: %+v", docker)
	}
	for _, refs := range [][]string{nil, {"podlet.test/none"}, {"NO"}} {
		if err := s.ExportTar(ctx, &out, refs, ExportOptions{}); err == nil {
			t.Errorf("%q: exported", refs)
		}
	}
	if err := s.ExportTar(ctx, &out, []string{"podlet.test/b:1"}, ExportOptions{Compression: "xz"}); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "somebody's"), nil, 0o600))
	if err := s.ExportDir(ctx, dir, []string{"podlet.test/b:1"}, ExportOptions{}); err == nil {
		t.Error("exported into a directory that is not empty")
	}
	checkStore(t, s)
}

// TestExportNot: a layer whose tar can't be made again is told as such, and a file that was changed is never exported as if it were the image's.
func TestExportNot(t *testing.T) {
	s := newStore(t)
	twice := importImage(t, s, testimage.Image{Names: []string{"podlet.test/twice:1"}, Layers: []testimage.Layer{
		layerOf(t, testimage.NewTree().File("f", 0o644, "first").File("f", 0o644, "second")),
	}})
	if err := s.ExportDir(ctx, filepath.Join(t.TempDir(), "x"), []string{twice.ID.String()}, ExportOptions{}); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Error(err)
	}
	img := importImage(t, s, simple(t, "podlet.test/simple:1", "some text"))
	must(t, os.WriteFile(filepath.Join(img.LayerDirs()[0], "content"), []byte("some tixt"), 0o644))
	dir := filepath.Join(t.TempDir(), "x")
	var damaged *damageError
	if err := s.ExportDir(ctx, dir, []string{img.ID.String()}, ExportOptions{}); !errors.As(err, &damaged) {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "index.json")); err == nil {
		t.Error("a layout that is not whole has an index")
	}
	// An older podlet kept no headers.
	l := s.mu.layers[img.Config.diffIDs[0]]
	l.Headers = 0
	if err := s.ExportDir(ctx, filepath.Join(t.TempDir(), "y"), []string{img.ID.String()}, ExportOptions{}); err == nil || !strings.Contains(err.Error(), "older version") {
		t.Error(err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.ExportDir(canceled, filepath.Join(t.TempDir(), "z"), []string{twice.ID.String()}, ExportOptions{}); err == nil {
		t.Error("exported for nobody")
	}
}
