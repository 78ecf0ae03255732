package image

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"podlet/hack/testimages/testimage"
)

var ctx = context.Background()

// simple is an image of one small layer.
func simple(t testing.TB, name, content string) testimage.Image {
	return testimage.Image{Names: []string{name}, Layers: []testimage.Layer{layerOf(t, testimage.NewTree().File("content", 0o644, content))}}
}

func TestImportReadyMade(t *testing.T) {
	s := newStore(t)
	for _, dir := range []string{testimage.Busybox(t), testimage.Tools(t), testimage.Scratch(t)} {
		_, err := s.Import(ctx, dir, ImportOptions{})
		must(t, err)
	}
	busybox, err := s.Get("podlet.test/busybox")
	must(t, err)
	tools, err := s.Get(testimage.ToolsName)
	must(t, err)
	scratch, err := s.Get(testimage.ScratchName)
	must(t, err)
	lstat(t, busybox.LayerDirs()[1]+"/bin/sh")
	if !slices.Equal(tools.LayerDirs()[1:], busybox.LayerDirs()) {
		t.Errorf("tools %v shares no layers with busybox %v", tools.LayerDirs(), busybox.LayerDirs())
	}
	u, err := s.Users(busybox.ID)
	must(t, err)
	id, err := u.Resolve(UserRequest{ImageUser: "app"})
	if err != nil || fmt.Sprint(id.Groups) != "[1000 2000 3000]" {
		t.Errorf("%+v, %v", id, err)
	}
	c := scratch.Config
	if c.User != "1234:5678" || c.WorkingDir != "/work/dir" || c.StopSignal != "SIGUSR1" || !slices.Equal(c.Volumes, []string{"/data"}) || !slices.Equal(c.Entrypoint, []string{"/probe"}) {
		t.Errorf("%+v", c)
	}
	if n := len(s.List()); n != 3 {
		t.Errorf("%d images", n)
	}
	checkStore(t, s)
}

// TestImportForms: the same image from every kind of archive, by path and by reader.
func TestImportForms(t *testing.T) {
	i := simple(t, "podlet.test/forms:v1", "x")
	layout := t.TempDir()
	must(t, i.WriteLayout(layout))
	layoutTar, err := testimage.TarOf(layout)
	must(t, err)
	var docker bytes.Buffer
	must(t, testimage.WriteDockerArchive(&docker, i))
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	w.Write(layoutTar)
	must(t, w.Close())
	zstd, err := testimage.Layer{Tar: docker.Bytes(), Compression: testimage.Zstd}.Blob()
	must(t, err)

	want, err := i.ID()
	must(t, err)
	check := func(name string, images []Image, s *Store, err error) {
		t.Helper()
		if err != nil || len(images) != 1 || images[0].ID.String() != want || !slices.Equal(images[0].Tags, i.Names) || images[0].Size <= 0 {
			t.Errorf("%s: %+v, %v", name, images, err)
			return
		}
		checkStore(t, s)
	}
	for name, data := range map[string][]byte{"layout tar": layoutTar, "docker-archive": docker.Bytes(), "layout tar.gz": zipped.Bytes(), "docker-archive zstd": zstd} {
		file := filepath.Join(t.TempDir(), "archive")
		must(t, os.WriteFile(file, data, 0o600))
		s := newStore(t)
		images, err := s.Import(ctx, file, ImportOptions{})
		check(name, images, s, err)
		s = newStore(t)
		images, err = s.ImportReader(ctx, bytes.NewReader(data), ImportOptions{})
		check(name+" by reader", images, s, err)
	}
	s := newStore(t)
	images, err := s.Import(ctx, layout, ImportOptions{})
	check("layout", images, s, err)
	if len(images[0].Digests) != 1 || !strings.HasPrefix(images[0].Digests[0], "podlet.test/forms@sha256:") {
		t.Error(images[0].Digests)
	}
	if got, err := s.Get(images[0].Digests[0]); err != nil || got.ID != images[0].ID {
		t.Error(err)
	}
}

func TestImportProgress(t *testing.T) {
	s := newStore(t)
	var seen []LayerProgress
	o := ImportOptions{Progress: func(p LayerProgress) { seen = append(seen, p) }}
	dir := t.TempDir()
	must(t, simple(t, "podlet.test/p:1", strings.Repeat("x", 3<<20)).WriteLayout(dir))
	_, err := s.Import(ctx, dir, o)
	must(t, err)
	last := seen[len(seen)-1]
	if len(seen) < 2 || !last.Done || last.Shared || last.Read != last.Size || last.Entries != 1 {
		t.Errorf("%+v", seen)
	}
	seen = nil
	_, err = s.Import(ctx, dir, o)
	must(t, err)
	if len(seen) != 1 || !seen[0].Shared {
		t.Errorf("%+v", seen)
	}
}

// TestImportTwice: an image that is there is not unpacked again, and gains names.
func TestImportTwice(t *testing.T) {
	s := newStore(t)
	i := simple(t, "podlet.test/twice:1", "x")
	first := importImage(t, s, i)
	i.Names = []string{"podlet.test/twice:2", "other.test/twice:1"}
	before := s.FsInfo()
	second := importImage(t, s, i)
	if second.ID != first.ID || !slices.Equal(second.Tags, []string{"podlet.test/twice:1", "podlet.test/twice:2", "other.test/twice:1"}) {
		t.Errorf("%+v", second)
	}
	if after := s.FsInfo(); after.Bytes != before.Bytes || after.Inodes != before.Inodes {
		t.Errorf("%+v, then %+v", before, after)
	}
	checkStore(t, s)
	s = reopen(t, s, "boot-1")
	again, err := s.Get("other.test/twice:1")
	must(t, err)
	if !reflect.DeepEqual(again, second) {
		t.Errorf("%+v\nafter a restart\n%+v", second, again)
	}
}

// TestImportAtOnce: many imports of images that share layers, at the same time.
func TestImportAtOnce(t *testing.T) {
	s := newStore(t)
	shared := layerOf(t, testimage.NewTree().File("shared", 0o644, strings.Repeat("s", 1<<20)))
	var dirs []string
	for n := range 4 {
		i := simple(t, fmt.Sprintf("podlet.test/at-once:%d", n), fmt.Sprint(n))
		i.Layers = append([]testimage.Layer{shared}, i.Layers...)
		dir := t.TempDir()
		must(t, i.WriteLayout(dir))
		dirs = append(dirs, dir)
	}
	var group sync.WaitGroup
	for n := range 12 {
		group.Go(func() {
			if _, err := s.Import(ctx, dirs[n%4], ImportOptions{}); err != nil {
				t.Error(err)
			}
			if n >= 8 {
				s.List()
				s.FsInfo()
				if err := s.Remove(fmt.Sprintf("podlet.test/at-once:%d", n%4)); err != nil && !errors.Is(err, ErrNotFound) {
					t.Error(err)
				}
				if _, err := s.Import(ctx, dirs[n%4], ImportOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if n := len(s.List()); n != 4 {
		t.Errorf("%d images", n)
	}
	checkStore(t, s)
}

// TestImportCancel ends imports at many points; nothing of them is left.
func TestImportCancel(t *testing.T) {
	i := simple(t, "podlet.test/cancel:1", strings.Repeat("x", 4<<20))
	i.Layers = append(i.Layers, layerOf(t, testimage.NewTree().File("second", 0o644, strings.Repeat("y", 4<<20))))
	dir := t.TempDir()
	must(t, i.WriteLayout(dir))
	s := newStore(t)
	for at := 1; ; at++ {
		c, cancel := context.WithCancel(ctx)
		n := 0
		_, err := s.Import(c, dir, ImportOptions{Progress: func(LayerProgress) {
			if n++; n == at {
				cancel()
			}
		}})
		cancel()
		if n < at {
			must(t, err)
			if at < 5 {
				t.Errorf("only %d steps", at)
			}
			return
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("cancelled at step %d: %v", at, err)
		}
		if len(s.List()) != 0 || s.FsInfo().Inodes != 0 {
			t.Fatalf("step %d left %v", at, s.FsInfo())
		}
		checkStore(t, s)
	}
}

func TestImportNames(t *testing.T) {
	named := func(annotations ...map[string]string) string {
		dir := t.TempDir()
		must(t, simple(t, "unused.test/x:1", "x").WriteLayout(dir))
		editIndex(t, dir, func(index map[string]any) {
			d := index["manifests"].([]any)[0].(map[string]any)
			var all []any
			for _, a := range annotations {
				one := map[string]any{}
				for k, v := range d {
					one[k] = v
				}
				one["annotations"] = a
				all = append(all, one)
			}
			index["manifests"] = all
		})
		return dir
	}
	ref := func(s string) map[string]string { return map[string]string{annotationRefName: s} }
	for _, c := range []struct {
		dir, name string
		want      string // "": an error
	}{
		{named(ref("busybox:v1")), "", "docker.io/library/busybox:v1"},
		{named(ref("host.test/a/b:v1")), "", "host.test/a/b:v1"},
		{named(ref("v1")), "", ""},
		{named(nil), "", ""},
		{named(nil), "busybox", "docker.io/library/busybox:latest"},
		{named(ref("v1")), "busybox:v2", "docker.io/library/busybox:v2"},
		{named(ref("v1"), ref("v2")), "host.test/a", "host.test/a:latest"}, // one image: it is called what the caller says
		{named(ref("host.test/a:1"), ref("host.test/b:2")), "", "host.test/a:1 host.test/b:2"},
		{named(map[string]string{annotationImageName: "host.test/a:1", annotationRefName: "1"}), "", "host.test/a:1"},
		{named(ref("bad name")), "", ""},
		{named(ref("host.test/Upper")), "", ""},
		{named(ref("v1")), "Bad", ""},
		{named(ref("v1")), "busybox@" + someDigest, ""},
	} {
		s := newStore(t)
		images, err := s.Import(ctx, c.dir, ImportOptions{Name: c.name})
		if c.want == "" {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("%+v: %v, %v", c, images, err)
			}
			checkStore(t, s)
			continue
		}
		if err != nil || strings.Join(images[0].Tags, " ") != c.want {
			t.Errorf("%+v: %v, %v", c, images, err)
		}
	}
}

// editIndex changes a layout's index.json.
func editIndex(t *testing.T, dir string, edit func(map[string]any)) {
	t.Helper()
	path := filepath.Join(dir, "index.json")
	data, err := os.ReadFile(path)
	must(t, err)
	var index map[string]any
	must(t, json.Unmarshal(data, &index))
	edit(index)
	data, err = json.Marshal(index)
	must(t, err)
	must(t, os.WriteFile(path, data, 0o644))
}

// putBlob adds a blob to a layout and gives its descriptor.
func putBlob(t *testing.T, dir, mediaType string, data []byte) map[string]any {
	t.Helper()
	d := testimage.Digest(data)
	must(t, os.WriteFile(filepath.Join(dir, "blobs/sha256", d[len("sha256:"):]), data, 0o644))
	return map[string]any{"mediaType": mediaType, "digest": d, "size": len(data)}
}

// TestImportHostile: each archive is refused as invalid, soon, and leaves nothing; then the next import works.
func TestImportHostile(t *testing.T) {
	i := simple(t, "podlet.test/hostile:1", strings.Repeat("content ", 10000))
	manifest := func(index map[string]any) map[string]any { return index["manifests"].([]any)[0].(map[string]any) }
	blobOf := func(dir string, d map[string]any) string {
		return filepath.Join(dir, "blobs/sha256", strings.TrimPrefix(d["digest"].(string), "sha256:"))
	}
	readManifest := func(t *testing.T, dir string, index map[string]any) map[string]any {
		data, err := os.ReadFile(blobOf(dir, manifest(index)))
		must(t, err)
		var m map[string]any
		must(t, json.Unmarshal(data, &m))
		return m
	}
	// editManifest writes another manifest in place of the first, with a digest of its own.
	editManifest := func(edit func(t *testing.T, dir string, m map[string]any)) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			editIndex(t, dir, func(index map[string]any) {
				m := readManifest(t, dir, index)
				edit(t, dir, m)
				data, err := json.Marshal(m)
				must(t, err)
				d := putBlob(t, dir, typeOCIManifest, data)
				d["annotations"] = manifest(index)["annotations"]
				index["manifests"] = []any{d}
			})
		}
	}
	layer := func(m map[string]any) map[string]any { return m["layers"].([]any)[0].(map[string]any) }
	editIndexes := func(edit func(t *testing.T, dir string, index map[string]any)) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			editIndex(t, dir, func(index map[string]any) { edit(t, dir, index) })
		}
	}
	otherLayer := func(data []byte) func(*testing.T, string, map[string]any) {
		return func(t *testing.T, dir string, m map[string]any) {
			m["layers"] = []any{putBlob(t, dir, "application/vnd.oci.image.layer.v1.tar+gzip", data)}
		}
	}
	zip := func(data []byte) []byte {
		b, err := testimage.Layer{Tar: data, Compression: testimage.Gzip}.Blob()
		must(t, err)
		return b
	}
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"no index":        func(t *testing.T, dir string) { must(t, os.Remove(dir+"/index.json")) },
		"index of 10 GiB": func(t *testing.T, dir string) { must(t, os.Truncate(dir+"/index.json", 10<<30)) },
		"index a directory": func(t *testing.T, dir string) {
			must(t, os.Remove(dir+"/index.json"))
			must(t, os.Mkdir(dir+"/index.json", 0o755))
		},
		"empty index": editIndexes(func(_ *testing.T, _ string, index map[string]any) { index["manifests"] = []any{} }),
		"digest with ..": editIndexes(func(_ *testing.T, _ string, index map[string]any) {
			manifest(index)["digest"] = "sha256:../../../../../../etc/passwd"
		}),
		"other platform": editIndexes(func(_ *testing.T, _ string, index map[string]any) {
			manifest(index)["platform"] = map[string]string{"os": "plan9", "architecture": "vax"}
		}),
		"manifest missing": editIndexes(func(_ *testing.T, _ string, index map[string]any) { manifest(index)["digest"] = someDigest }),
		"manifest of another size": editIndexes(func(_ *testing.T, _ string, index map[string]any) {
			manifest(index)["size"] = 5
		}),
		"manifest flipped": editIndexes(func(t *testing.T, dir string, index map[string]any) {
			flip(t, blobOf(dir, manifest(index)))
		}),
		"manifest called index": editIndexes(func(_ *testing.T, _ string, index map[string]any) { manifest(index)["mediaType"] = typeOCIIndex }),
		"index of indexes, deep": editIndexes(func(t *testing.T, dir string, index map[string]any) {
			d := manifest(index)
			for range maxIndexDepth {
				data, _ := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []any{d}})
				d = putBlob(t, dir, typeOCIIndex, data)
			}
			d["annotations"] = manifest(index)["annotations"]
			index["manifests"] = []any{d}
		}),
		"wide index": editIndexes(func(t *testing.T, dir string, index map[string]any) {
			var many []any
			for range 600 {
				many = append(many, manifest(index))
			}
			data, _ := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": many})
			index["manifests"] = append(many, putBlob(t, dir, typeOCIIndex, data))
		}),
		"layer missing":                  editManifest(func(_ *testing.T, _ string, m map[string]any) { layer(m)["digest"] = someDigest }),
		"layer shorter":                  editManifest(func(_ *testing.T, _ string, m map[string]any) { layer(m)["size"] = 1 << 20 }),
		"layer longer":                   editManifest(func(_ *testing.T, _ string, m map[string]any) { layer(m)["size"] = 10 }),
		"layer flipped":                  editManifest(func(t *testing.T, dir string, m map[string]any) { flip(t, blobOf(dir, layer(m))) }),
		"layer twice":                    editManifest(func(_ *testing.T, _ string, m map[string]any) { m["layers"] = []any{layer(m), layer(m)} }),
		"another layer":                  editManifest(otherLayer(zip(tarOf(t, testimage.NewTree().File("other", 0o644, ""))))),
		"layer with more behind its end": editManifest(otherLayer(zip(append(slices.Clone(i.Layers[0].Tar), "more"...)))),
		"layer with a second gzip":       editManifest(otherLayer(append(zip(i.Layers[0].Tar), zip([]byte("more"))...))),
		"layer with noise behind gzip":   editManifest(otherLayer(append(zip(i.Layers[0].Tar), "noise"...))),
		"empty layer":                    editManifest(otherLayer(nil)),
		"layer of gzip of noise":         editManifest(otherLayer(zip([]byte("noise")))),
		"layer of broken gzip":           editManifest(otherLayer([]byte("\x1f\x8bnoise"))),
		"layer of broken zstd":           editManifest(otherLayer([]byte("\x28\xb5\x2f\xfdnoise"))),
		"layer of xz":                    editManifest(otherLayer([]byte("\xfd7zXZ\x00noise"))),
		"zstd with a huge window":        editManifest(otherLayer([]byte("\x28\xb5\x2f\xfd\x00\xf8\x01\x00\x00"))),
		"config missing":                 editManifest(func(_ *testing.T, _ string, m map[string]any) { m["config"].(map[string]any)["digest"] = someDigest }),
		"config no JSON": editManifest(func(t *testing.T, dir string, m map[string]any) {
			m["config"] = putBlob(t, dir, typeOCIConfig, []byte("config"))
		}),
		"config of another platform": editManifest(func(t *testing.T, dir string, m map[string]any) {
			other := i
			other.Architecture = "vax"
			data, err := other.ConfigJSON()
			must(t, err)
			m["config"] = putBlob(t, dir, typeOCIConfig, data)
		}),
		"blob a link out": editManifest(func(t *testing.T, dir string, m map[string]any) {
			path := blobOf(dir, layer(m))
			away := filepath.Join(t.TempDir(), "away")
			must(t, os.Rename(path, away))
			must(t, os.Symlink(away, path))
		}),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, i.WriteLayout(dir))
			spoil(t, dir)
			s := newStore(t)
			images, err := s.Import(ctx, dir, ImportOptions{})
			if err == nil {
				t.Fatalf("imported %+v", images)
			}
			if !errors.Is(err, ErrInvalid) && name != "blob a link out" {
				t.Errorf("not the archive's fault: %v", err)
			}
			t.Log(err)
			if s.FsInfo().Inodes != 0 {
				t.Error("a layer is left")
			}
			checkStore(t, s)
			importImage(t, s, i)
		})
	}
}

func flip(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	data[len(data)/2] ^= 0x20
	must(t, os.WriteFile(path, data, 0o644))
}

// TestImportBrokenArchives: tars that are none, cut tars, and readers that fail.
func TestImportBrokenArchives(t *testing.T) {
	i := simple(t, "podlet.test/broken:1", strings.Repeat("x", 100000))
	var docker bytes.Buffer
	must(t, testimage.WriteDockerArchive(&docker, i))
	whole := docker.Bytes()
	twice := append(slices.Clone(whole[:len(whole)-1024]), whole...)
	s := newStore(t)
	for name, data := range map[string][]byte{
		"nothing": nil, "noise": bytes.Repeat([]byte("noise"), 1000), "cut": whole[:len(whole)/2], "gzip of nothing": {0x1f, 0x8b},
		"same file twice": twice,
		"other files":     tarOf(t, testimage.NewTree().File("readme", 0o644, "")),
		"manifest null":   tarOf(t, testimage.NewTree().File("manifest.json", 0o644, "null")),
		"manifest empty":  tarOf(t, testimage.NewTree().File("manifest.json", 0o644, "[]")),
		"names upwards":   tarOf(t, testimage.NewTree().File("manifest.json", 0o644, `[{"Config":"../c","RepoTags":["a:1"],"Layers":["l"]}]`)),
		"missing config":  tarOf(t, testimage.NewTree().File("manifest.json", 0o644, `[{"Config":"c","RepoTags":["a:1"],"Layers":["l"]}]`)),
		"link loop":       tarOf(t, testimage.NewTree().Symlink("manifest.json", "x").Symlink("x", "manifest.json")),
	} {
		_, err := s.ImportReader(ctx, bytes.NewReader(data), ImportOptions{})
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		checkStore(t, s)
	}
	broken := errors.New("the line went dead")
	_, err := s.ImportReader(ctx, io.MultiReader(bytes.NewReader(whole[:2000]), readerFunc(func([]byte) (int, error) { return 0, broken })), ImportOptions{})
	if !errors.Is(err, broken) || errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if _, err := s.Import(ctx, "/none/such", ImportOptions{}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	_, err = s.ImportReader(ctx, bytes.NewReader(whole), ImportOptions{})
	must(t, err)
}

// TestImportPanic: a decoder's panic fails one import and leaves nothing, not even for the one who waits for the same layer (CVE-2026-95839).
func TestImportPanic(t *testing.T) {
	s := newStore(t)
	d := digestOf([]byte("x"))
	pins := s.Pins()
	defer pins.Release()
	err := s.EnsureLayer(ctx, pins, LayerSource{DiffID: d, Size: -1, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(readerFunc(func([]byte) (int, error) { panic("decoder") })), nil
	}})
	if err == nil || !strings.Contains(err.Error(), "panic") {
		t.Error(err)
	}
	checkStore(t, s)
	if shared, wait := s.claim(pins, d); shared || wait != nil {
		t.Error("the layer is still in flight")
	}
	s.land(d)
}
