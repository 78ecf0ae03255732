package main

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// pullImageCache has a directory an image, each made once.
const pullImageCache = "build/bench"

// pullImage is an image on the disk, as a registry would have it. What its layers are made of is pullcontent.go's.
type pullImage struct {
	dir string
	// Repository is its name at the registry, and its directory's.
	Repository string
	// Manifests are the digests of its manifests, by tag: "v1" is the image. Their blobs lie in the directory under their digests' hex, as all others do.
	Manifests map[string]string
	// Layers are the digests of v1's compressed layers, the lowest first.
	Layers []string
	// Bytes are those of v1's uncompressed tars, Entries their files and directories.
	Bytes, Entries int64
}

// blob is where the bytes with a digest lie.
func (i *pullImage) blob(digest string) string {
	return filepath.Join(i.dir, filepath.Base(digest[len("sha256:"):]))
}

// cachedImage gives an image, from the cache if it is there; make writes its blobs.
func cachedImage(repository string, make func(*pullImage) error) (*pullImage, error) {
	cache := filepath.Join(pullImageCache, repository)
	i := &pullImage{dir: cache}
	data, err := os.ReadFile(filepath.Join(cache, "image.json"))
	if err == nil {
		return i, json.Unmarshal(data, i)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := os.MkdirAll(pullImageCache, 0o755); err != nil {
		return nil, err
	}
	if i.dir, err = os.MkdirTemp(pullImageCache, "new-"); err != nil {
		return nil, err
	}
	defer os.RemoveAll(i.dir)
	i.Repository, i.Manifests = repository, map[string]string{}
	if err := make(i); err != nil {
		return nil, fmt.Errorf("make the image to pull: %w", err)
	}
	if data, err = json.Marshal(i); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(i.dir, "image.json"), data, 0o644); err != nil {
		return nil, err
	}
	if err := os.Rename(i.dir, cache); err != nil {
		return nil, err
	}
	made := *i
	made.dir = cache
	return &made, nil
}

// pullLayer is a layer whose blob is there.
type pullLayer struct {
	descriptor
	diffID         string
	bytes, entries int64 // of the tar
}

type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

const ociType = "application/vnd.oci.image."

// tag puts an image of the layers.
func (i *pullImage) tag(tag string, layers []pullLayer) error {
	var blobs []descriptor
	var diffIDs []string
	for _, l := range layers {
		blobs, diffIDs = append(blobs, l.descriptor), append(diffIDs, l.diffID)
		if tag == "v1" {
			i.Layers = append(i.Layers, l.Digest)
			i.Bytes, i.Entries = i.Bytes+l.bytes, i.Entries+l.entries
		}
	}
	config, size, err := i.put(map[string]any{
		"os": "linux", "architecture": runtime.GOARCH, "rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	})
	if err != nil {
		return err
	}
	i.Manifests[tag], _, err = i.put(map[string]any{
		"schemaVersion": 2, "mediaType": ociType + "manifest.v1+json", "config": descriptor{ociType + "config.v1+json", config, size}, "layers": blobs,
	})
	return err
}

// put writes a document's blob.
func (i *pullImage) put(document any) (digest string, size int64, err error) {
	data, err := json.Marshal(document)
	if err != nil {
		return "", 0, err
	}
	sum := sha256.Sum256(data)
	digest = "sha256:" + hex.EncodeToString(sum[:])
	return digest, int64(len(data)), os.WriteFile(i.blob(digest), data, 0o644)
}

// layer writes the blob of the tar that pack writes, which has so many entries.
func (i *pullImage) layer(entries int64, pack func(io.Writer) error) (pullLayer, error) {
	out, err := os.CreateTemp(i.dir, "layer-")
	if err != nil {
		return pullLayer{}, err
	}
	defer out.Close()
	compressed, plain := sha256.New(), sha256.New()
	z := gzip.NewWriter(io.MultiWriter(out, compressed))
	count := &counter{w: io.MultiWriter(z, plain)}
	if err := pack(count); err != nil {
		return pullLayer{}, err
	}
	if err := z.Close(); err != nil {
		return pullLayer{}, err
	}
	at, err := out.Seek(0, io.SeekCurrent)
	if err != nil {
		return pullLayer{}, err
	}
	l := pullLayer{descriptor{ociType + "layer.v1.tar+gzip", digestOf(compressed), at}, digestOf(plain), count.n, entries}
	return l, os.Rename(out.Name(), i.blob(l.Digest))
}

func digestOf(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.w.Write(p)
}
