package image

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"podlet/hack/testimages/testimage"
)

// blobs is a Remote of one manifest or index. Its fields are set before it is used.
type blobs struct {
	manifest []byte
	content  map[string]string // by digest, as descriptors have it
	// documents are those below manifest, which is an index then: content and media type, by digest. mediaType is manifest's, "" for OCI's.
	documents map[string][2]string
	mediaType string
	fetched   atomic.Int64
}

func (b *blobs) Document(_ context.Context, d Digest, _ int64) ([]byte, string, error) {
	if below, ok := b.documents[d.String()]; ok {
		return []byte(below[0]), below[1], nil
	}
	return b.manifest, cmp.Or(b.mediaType, typeOCIManifest), nil
}

func (b *blobs) Blob(_ context.Context, d Digest, _ int64) (io.ReadCloser, error) {
	b.fetched.Add(1)
	content, ok := b.content[d.String()]
	if !ok {
		return nil, fmt.Errorf("no blob %s", d)
	}
	return io.NopCloser(strings.NewReader(content)), nil
}

func (b *blobs) Wrong(Digest) bool { return false }

// file is a blob of an artifact.
type file struct{ title, content string }

// artifactOf gives an artifact as a tool like oras pushes it.
func artifactOf(t testing.TB, files ...file) *blobs {
	t.Helper()
	b := &blobs{content: map[string]string{}}
	put := func(mediaType, content string) testimage.Descriptor {
		d := testimage.Descriptor{MediaType: mediaType, Digest: testimage.Digest([]byte(content)), Size: int64(len(content))}
		b.content[d.Digest] = content
		return d
	}
	var layers []testimage.Descriptor
	for _, f := range files {
		d := put("application/vnd.example.model", f.content)
		if f.title != "" {
			d.Annotations = map[string]string{annotationTitle: f.title}
		}
		layers = append(layers, d)
	}
	var err error
	b.manifest, err = json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": typeOCIManifest, "artifactType": "application/vnd.example",
		"config": put("application/vnd.oci.empty.v1+json", "{}"), "layers": layers,
	})
	must(t, err)
	return b
}

// TestPullArtifact: an OCI artifact becomes a directory of its blobs, and is an image in all else.
func TestPullArtifact(t *testing.T) {
	large := strings.Repeat("large ", 500_000)
	b := artifactOf(t, file{"model/weights.bin", large}, file{"README.md", "odd"}, file{"", "without a title"}, file{"empty", ""})
	s := newStore(t)
	img, err := s.Pull(ctx, "registry.test/model:1", b, PullOptions{})
	must(t, err)
	if len(img.Tags) != 1 || len(img.Digests) != 1 || img.Digests[0] != "registry.test/model@"+testimage.Digest(b.manifest) {
		t.Errorf("%v, %v", img.Tags, img.Digests)
	}
	nameless := strings.ReplaceAll(testimage.Digest([]byte("without a title")), ":", "-")
	dir := img.LayerDirs()[0]
	for name, want := range map[string]string{"model/weights.bin": large, "README.md": "odd", nameless: "without a title", "empty": ""} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(got) != want {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if st := lstat(t, filepath.Join(dir, name)); st.Mode&0o7777 != 0o644 || st.Uid != 0 {
			t.Errorf("%s: %o", name, st.Mode)
		}
	}
	report, err := s.Check(ctx, CheckOptions{Deep: true})
	must(t, err)
	if report.Wrong() != 0 {
		t.Errorf("%+v", report.Findings)
	}

	// Under another name nothing is fetched again; elsewhere it has the same id; and it comes back from the disk.
	before := b.fetched.Load()
	again, err := s.Pull(ctx, "registry.test/model:2", b, PullOptions{})
	if err != nil || again.ID != img.ID || len(again.Tags) != 2 || b.fetched.Load() != before {
		t.Errorf("%v, %v, %d blobs fetched", again, err, b.fetched.Load()-before)
	}
	elsewhere, err := newStore(t).Pull(ctx, "registry.test/model:1", b, PullOptions{})
	if err != nil || elsewhere.ID != img.ID {
		t.Errorf("elsewhere it is %s, %v", elsewhere.ID, err)
	}
	s = reopen(t, s, "boot-2")
	if _, err := s.Get("registry.test/model:1"); err != nil {
		t.Error(err)
	}
	must(t, s.Remove(img.ID.String()))
	checkStore(t, s)
}

// TestArtifactRefuses: titles are a stranger's words, and so are blobs.
func TestArtifactRefuses(t *testing.T) {
	for _, title := range []string{"../out", "/etc/passwd", "a/../../out", ".", ".wh.x", "a/.wh..wh..opq", "a\x00b", strings.Repeat("n", 256), strings.Repeat("n/", 2500) + "f"} {
		refused(t, "title "+title, artifactOf(t, file{title, "content"}))
	}
	refused(t, "one title twice", artifactOf(t, file{"a", "1"}, file{"a/.", "2"}))
	refused(t, "file below a file", artifactOf(t, file{"a", "1"}, file{"a/b", "2"}))
	for name, change := range map[string]string{"short": "conten", "long": "content!", "other": "CONTENT", "empty": ""} {
		b := artifactOf(t, file{"f", "content"})
		b.content[testimage.Digest([]byte("content"))] = change
		refused(t, name, b)
	}
	b := artifactOf(t)
	refused(t, "no blobs", b)
	// It is no image for who needs a config.
	_, _, err := parseDocument(artifactOf(t, file{"f", "x"}).manifest, typeOCIManifest)
	must(t, err)
	dir := t.TempDir()
	must(t, simple(t, "podlet.test/x:1", "x").WriteLayout(dir))
	a := artifactOf(t, file{"f", "x"})
	editIndex(t, dir, func(index map[string]any) { index["manifests"] = []any{putBlob(t, dir, typeOCIManifest, a.manifest)} })
	if _, err := newStore(t).Import(ctx, dir, ImportOptions{}); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "artifact") {
		t.Error(err)
	}
}

func refused(t *testing.T, what string, b *blobs) {
	t.Helper()
	s := newStore(t)
	if _, err := s.Pull(ctx, "registry.test/model:1", b, PullOptions{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("%s: %v", what, err)
	}
	checkStore(t, s)
}

// FuzzArtifact takes the input as an artifact's titles and contents, and its manifest as a registry's word.
func FuzzArtifact(f *testing.F) {
	s, _ := fuzzStore(f)
	f.Add("a/b", "content", "c", "more", false)
	f.Add("..", "content", "", "", true)
	f.Fuzz(func(t *testing.T, title, content, title2, content2 string, change bool) {
		b := artifactOf(t, file{title, content}, file{title2, content2})
		if change {
			b.manifest = bytes.Replace(b.manifest, []byte(content), []byte(title), 1)
		}
		img, err := s.Pull(ctx, "registry.test/model:1", b, PullOptions{})
		if err != nil && !errors.Is(err, ErrInvalid) && !strings.Contains(err.Error(), "no blob") {
			t.Errorf("not the artifact's fault: %v", err)
		}
		if err == nil {
			must(t, s.Remove(img.ID.String()))
		}
	})
}
