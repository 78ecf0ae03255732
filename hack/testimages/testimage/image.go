// Package testimage makes container images for tests: in memory, as OCI image layouts and as docker-archives.
//
// The ready-made ones ([Busybox], [Tools], [Scratch]) are kept under build/testimages in the checkout, so that only the first test ever pays for them; where the
// checkout isn't at hand (in a virtual machine), the environment variable PODLET_TESTIMAGES names a directory that "go run ./hack/testimages -o DIR" has filled. Own ones
// are built with [Image] and written with [Image.WriteLayout] or [WriteDockerArchive].
//
// Nothing here checks what it writes: tests of hostile images need wrong ones.
package testimage

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Compression of a layer.
type Compression int

const (
	None Compression = iota
	Gzip
	Zstd
)

// Image is an image to be written.
type Image struct {
	// Names are full names with tags: "podlet.test/busybox:latest".
	Names  []string
	Config Config
	// Layers: the lowest first.
	Layers []Layer
	// Architecture is the config's; "": the machine's.
	Architecture string
}

// Config is the "config" of an image's config (OCI image specification, config.md).
type Config struct {
	User         string              `json:"User,omitempty"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Env          []string            `json:"Env,omitempty"`
	Entrypoint   []string            `json:"Entrypoint,omitempty"`
	Cmd          []string            `json:"Cmd,omitempty"`
	Volumes      map[string]struct{} `json:"Volumes,omitempty"`
	WorkingDir   string              `json:"WorkingDir,omitempty"`
	Labels       map[string]string   `json:"Labels,omitempty"`
	StopSignal   string              `json:"StopSignal,omitempty"`
}

// Layer is a layer's tar and how it is compressed in a layout.
type Layer struct {
	Tar         []byte
	Compression Compression
}

// Digest gives "sha256:…" of b.
func Digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Descriptor points at a blob.
type Descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    map[string]string `json:"platform,omitempty"`
}

// MediaType of a layer.
func (l Layer) MediaType() string {
	return "application/vnd.oci.image.layer.v1.tar" + [...]string{"", "+gzip", "+zstd"}[l.Compression]
}

// Blob gives the layer's bytes as a layout has them.
func (l Layer) Blob() ([]byte, error) {
	var b bytes.Buffer
	var w io.WriteCloser
	switch l.Compression {
	case None:
		return l.Tar, nil
	case Gzip:
		w, _ = gzip.NewWriterLevel(&b, gzip.BestSpeed)
	case Zstd:
		z, err := zstd.NewWriter(&b, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		w = z
	}
	if _, err := w.Write(l.Tar); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// ConfigJSON gives the image's whole config. It depends on nothing but the image, so that ids stay.
func (i Image) ConfigJSON() ([]byte, error) {
	arch := i.Architecture
	if arch == "" {
		arch = runtime.GOARCH
	}
	var diffIDs []string
	for _, l := range i.Layers {
		diffIDs = append(diffIDs, Digest(l.Tar))
	}
	return json.Marshal(map[string]any{
		"created": time.Unix(0, 0).UTC(), "os": "linux", "architecture": arch,
		"config": i.Config,
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	})
}

// ID gives the image's id: the digest of its config.
func (i Image) ID() (string, error) {
	config, err := i.ConfigJSON()
	return Digest(config), err
}

// WriteLayout writes an OCI image layout of the images into dir, which is made.
func WriteLayout(dir string, images ...Image) error {
	blobs := filepath.Join(dir, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return err
	}
	put := func(mediaType string, b []byte) (Descriptor, error) {
		d := Digest(b)
		return Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(b))}, os.WriteFile(filepath.Join(blobs, d[len("sha256:"):]), b, 0o644)
	}
	var manifests []Descriptor
	for _, i := range images {
		target, err := i.write(put)
		if err != nil {
			return err
		}
		for _, name := range i.Names {
			named := target
			named.Annotations = map[string]string{"io.containerd.image.name": name}
			manifests = append(manifests, named)
		}
		if len(i.Names) == 0 {
			manifests = append(manifests, target)
		}
	}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "index.json"), index, 0o644)
}

// write puts the image's blobs and gives its manifest's descriptor.
func (i Image) write(put func(mediaType string, b []byte) (Descriptor, error)) (Descriptor, error) {
	config, err := i.ConfigJSON()
	if err != nil {
		return Descriptor{}, err
	}
	configAt, err := put("application/vnd.oci.image.config.v1+json", config)
	if err != nil {
		return Descriptor{}, err
	}
	var layers []Descriptor
	for _, l := range i.Layers {
		blob, err := l.Blob()
		if err != nil {
			return Descriptor{}, err
		}
		at, err := put(l.MediaType(), blob)
		if err != nil {
			return Descriptor{}, err
		}
		layers = append(layers, at)
	}
	const mediaType = "application/vnd.oci.image.manifest.v1+json"
	manifest, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": mediaType, "config": configAt, "layers": layers})
	if err != nil {
		return Descriptor{}, err
	}
	return put(mediaType, manifest)
}

// WriteLayout writes the image alone; see the function of that name.
func (i Image) WriteLayout(dir string) error { return WriteLayout(dir, i) }

// WriteDockerArchive writes what "docker save" of the images would be.
func WriteDockerArchive(w io.Writer, images ...Image) error {
	type entry struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	var entries []entry
	files := map[string]bool{}
	out := tar.NewWriter(w)
	put := func(name string, b []byte) error {
		if files[name] {
			return nil
		}
		files[name] = true
		if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(b))}); err != nil {
			return err
		}
		_, err := out.Write(b)
		return err
	}
	for _, i := range images {
		config, err := i.ConfigJSON()
		if err != nil {
			return err
		}
		e := entry{Config: Digest(config)[len("sha256:"):] + ".json", RepoTags: i.Names}
		if err := put(e.Config, config); err != nil {
			return err
		}
		for _, l := range i.Layers {
			name := Digest(l.Tar)[len("sha256:"):] + "/layer.tar"
			if err := put(name, l.Tar); err != nil {
				return err
			}
			e.Layers = append(e.Layers, name)
		}
		entries = append(entries, e)
	}
	manifest, err := json.Marshal(entries)
	if err != nil {
		return err
	}
	if err := put("manifest.json", manifest); err != nil {
		return fmt.Errorf("docker-archive: %w", err)
	}
	return out.Close()
}

// TarOf makes an uncompressed tar of a layout directory's files.
func TarOf(dir string) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		return nil, err
	}
	err := w.Close()
	return b.Bytes(), err
}
