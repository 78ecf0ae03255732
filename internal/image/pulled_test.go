package image

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"podlet/hack/testimages/testimage"
)

// TestPullForms: Docker's and OCI's documents, alone and below indexes for many platforms, with layers of each compression, are the same image.
func TestPullForms(t *testing.T) {
	forms := map[string]struct{ index, manifest, config, layer string }{
		"OCI":    {typeOCIIndex, typeOCIManifest, typeOCIConfig, "application/vnd.oci.image.layer.v1.tar"},
		"Docker": {typeDockerIndex, typeDockerManifest, typeDockerConfig, "application/vnd.docker.image.rootfs.diff.tar"},
	}
	suffix := map[string][3]string{"OCI": {"", "+gzip", "+zstd"}, "Docker": {"", ".gzip", ".zstd"}}
	i := testimage.Image{Layers: []testimage.Layer{
		layerOf(t, testimage.NewTree().File("a", 0o644, "plain").File("b", 0o644, "old")),
		layerOf(t, testimage.NewTree().File("b", 0o600, "gzip")),
		layerOf(t, testimage.NewTree().File("c", 0o644, "zstd")),
	}}
	id, err := i.ID()
	must(t, err)
	config, err := i.ConfigJSON()
	must(t, err)
	for name, form := range forms {
		for _, below := range []string{"alone", "index", "index of indexes"} {
			t.Run(name+" "+below, func(t *testing.T) {
				b := &blobs{content: map[string]string{}, documents: map[string][2]string{}}
				put := func(mediaType string, data []byte) testimage.Descriptor {
					d := testimage.Descriptor{MediaType: mediaType, Digest: testimage.Digest(data), Size: int64(len(data))}
					b.content[d.Digest], b.documents[d.Digest] = string(data), [2]string{string(data), mediaType}
					return d
				}
				document := func(mediaType string, fields map[string]any) testimage.Descriptor {
					fields["schemaVersion"], fields["mediaType"] = 2, mediaType
					data, err := json.Marshal(fields)
					must(t, err)
					b.manifest, b.mediaType = data, mediaType
					return put(mediaType, data)
				}
				var layers []testimage.Descriptor
				for n, l := range i.Layers {
					l.Compression = []testimage.Compression{testimage.None, testimage.Gzip, testimage.Zstd}[n]
					blob, err := l.Blob()
					must(t, err)
					layers = append(layers, put(form.layer+suffix[name][n], blob))
				}
				wanted := document(form.manifest, map[string]any{"config": put(form.config, config), "layers": layers})
				if below != "alone" {
					// All that a node may not take stands before the one for it: other systems and machines, a higher variant, an attestation.
					var all []testimage.Descriptor
					for n, p := range []map[string]string{
						{"os": "windows", "architecture": runtime.GOARCH}, {"os": "linux", "architecture": "s390x"},
						{"os": "linux", "architecture": runtime.GOARCH, "variant": "v99"}, {"os": "unknown", "architecture": "unknown"},
					} {
						other := put(form.manifest, fmt.Appendf(nil, "no document %d", n))
						other.Platform = p
						all = append(all, other)
					}
					wanted.Platform = map[string]string{"os": "linux", "architecture": runtime.GOARCH}
					index := document(form.index, map[string]any{"manifests": append(all, wanted)})
					if below == "index of indexes" {
						document(form.index, map[string]any{"manifests": []testimage.Descriptor{index}})
					}
				}
				s := newStore(t)
				img, err := s.Pull(ctx, "registry.test/form:1", b, PullOptions{})
				must(t, err)
				if img.ID.String() != id || len(img.Digests) != 1 || img.Digests[0] != "registry.test/form@"+testimage.Digest(b.manifest) {
					t.Errorf("%s, %v", img.ID, img.Digests)
				}
				root := merged(t, img)
				for file, want := range map[string]string{"a": "plain", "b": "gzip", "c": "zstd"} {
					if got, err := os.ReadFile(filepath.Join(root, file)); err != nil || string(got) != want {
						t.Errorf("%s: %q, %v", file, got, err)
					}
				}
			})
		}
	}
}
