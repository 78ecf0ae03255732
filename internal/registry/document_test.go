package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"podlet/hack/testimages/testimage"
	"podlet/internal/image"
)

// TestCVE_C1_C3_C7_C11_C12: each is refused, with few requests, and the next pull works.
func TestCVE_C1_C3_C7_C11_C12(t *testing.T) {
	i := newImage(t, "x")
	for _, c := range []struct {
		name string
		make func(t *testing.T, l *loopback, manifest testimage.Descriptor)
	}{
		{"index and manifest at once", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			l.document(t, "app:bad", typeManifest, func(d map[string]any) { d["manifests"] = []any{} }, m)
		}},
		{"header says index", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			l.types[m.Digest] = typeIndex
			l.tag("app:bad", m)
		}},
		{"header says web page", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			l.types[m.Digest] = "text/html"
			l.tag("app:bad", m)
		}},
		{"body says index", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			l.document(t, "app:bad", typeManifest, func(d map[string]any) { d["mediaType"] = typeIndex }, m)
		}},
		{"descriptor says index", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			m.MediaType = typeIndex
			l.pushIndex(t, "app:bad", m)
		}},
		{"malformed digests", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			l.pushIndex(t, "app:bad", testimage.Descriptor{MediaType: typeManifest, Digest: "sha256:../../x"})
		}},
		{"digest of 10 MiB", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			l.pushIndex(t, "app:bad", testimage.Descriptor{MediaType: typeManifest, Digest: "sha256:" + strings.Repeat("a", 10<<20)})
		}},
		{"wrong size", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			m.Size++
			l.pushIndex(t, "app:bad", m)
		}},
		{"other bytes under the digest", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			l.pushIndex(t, "app:bad", m)
			l.blobs[m.Digest] = append(bytes.Clone(l.blobs[m.Digest]), ' ')
		}},
		{"indexes in indexes", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			for depth := range 10 {
				var list []testimage.Descriptor
				for n := range 100 {
					d := m
					d.Platform = map[string]string{"os": "linux", "architecture": runtime.GOARCH, "x": fmt.Sprint(depth, n)}
					list = append(list, d)
				}
				m = l.pushIndex(t, "app:bad", list...)
			}
		}},
		{"too many descriptors", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			list := make([]testimage.Descriptor, 2000)
			for n := range list {
				list[n] = m
			}
			l.pushIndex(t, "app:bad", list...)
		}},
		{"endless manifest", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			l.before = func(w http.ResponseWriter, r *http.Request) bool {
				for r.Context().Err() == nil {
					if _, err := w.Write(make([]byte, 64<<10)); err != nil {
						return true
					}
				}
				return true
			}
		}},
		{"a layer is nonsense", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			junk := make([]byte, 10_000)
			rand.New(rand.NewSource(1)).Read(junk)
			l.layer(t, m, junk)
		}},
		{"a layer is empty", func(t *testing.T, l *loopback, m testimage.Descriptor) { l.layer(t, m, nil) }},
		{"a layer is another", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			b, err := newImage(t, "another").Layers[0].Blob()
			must(t, err)
			l.layer(t, m, b)
		}},
		{"a layer is cut off", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			b, err := i.Layers[0].Blob()
			must(t, err)
			l.layer(t, m, b[:len(b)/2])
		}},
		{"a layer has more", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			b, err := i.Layers[0].Blob()
			must(t, err)
			l.tag("app:bad", m)
			l.blobs[testimage.Digest(b)] = append(bytes.Clone(b), "more"...)
		}},
		{"wrong digest in the header", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			l.before = func(w http.ResponseWriter, r *http.Request) bool {
				w.Header().Set("Content-Type", typeManifest)
				w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
				w.Write(l.blobs[m.Digest])
				return true
			}
		}},
		{"malformed digest in the header", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			l.before = func(w http.ResponseWriter, r *http.Request) bool {
				w.Header().Set("Content-Type", typeManifest)
				w.Header().Set("Docker-Content-Digest", "../../etc")
				w.Write(l.blobs[m.Digest])
				return true
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, r := newLoopback(t, false), newRig(t)
			_, manifest, _ := l.push(t, "app:v1", i)
			c.make(t, l, manifest)
			before := l.requests("")
			_, err := r.Pull(background, l.address+"/app:bad", Credentials{})
			if !errors.Is(err, image.ErrInvalid) {
				t.Errorf("got %v", err)
			}
			if len(err.Error()) > 2000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			if n := l.requests("") - before; n > 8 {
				t.Errorf("%d requests", n)
			}
			if list := r.Images.List(); len(list) != 0 {
				t.Errorf("there is an image: %v", list)
			}
			good, _, _ := newLoopback(t, false).push(t, "app:v1", i)
			_, err = r.Pull(background, good, Credentials{})
			must(t, err)
		})
	}
}

// document puts a changed manifest under name.
func (l *loopback) document(t testing.TB, name, mediaType string, change func(map[string]any), m testimage.Descriptor) testimage.Descriptor {
	t.Helper()
	var d map[string]any
	must(t, json.Unmarshal(l.blobs[m.Digest], &d))
	change(d)
	data, err := json.Marshal(d)
	must(t, err)
	desc := l.put(mediaType, data)
	l.tag(name, desc)
	return desc
}

// layer puts other bytes in the place of the manifest's first layer, with the right digest and size for them, under app:bad.
func (l *loopback) layer(t testing.TB, m testimage.Descriptor, data []byte) {
	t.Helper()
	fresh := l.put("", data)
	l.document(t, "app:bad", typeManifest, func(d map[string]any) {
		layer := d["layers"].([]any)[0].(map[string]any)
		layer["digest"], layer["size"] = fresh.Digest, fresh.Size
	}, m)
}

// TestCVE_C8_ForeignURLs: what a descriptor says under urls is never asked.
func TestCVE_C8_ForeignURLs(t *testing.T) {
	l, b, r := newLoopback(t, false), newLoopback(t, false), newRig(t)
	_, m, _ := l.push(t, "app:v1", newImage(t, "x"))
	l.document(t, "app:v1", typeManifest, func(d map[string]any) {
		for _, layer := range d["layers"].([]any) {
			layer.(map[string]any)["urls"] = []string{b.URL + "/layer"}
			layer.(map[string]any)["mediaType"] = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
		}
	}, m)
	_, err := r.Pull(background, l.address+"/app:v1", Credentials{})
	must(t, err)
	if seen := b.everything(); seen != "" {
		t.Errorf("asked:\n%s", seen)
	}
}
