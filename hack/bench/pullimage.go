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
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// The image of the pull rows: real file trees, made once of this machine's /usr by tar and gzip.
const (
	pullImageBytes = 500 << 20
	pullLayerBytes = 20 << 20 // of files in one layer, which ends after the file that goes beyond
	pullLargest    = 10 << 20 // larger files are left out: a layer is a tree and not a file
	pullImageCache = "build/bench/many-layers"
)

// pullRoots are the directories below /usr that the layers are taken from, in turns: programs and libraries, headers and documents, which
// are few large and many small files.
var pullRoots = []string{"bin", "include", "lib", "libexec", "share"}

// pullImage is an image on the disk, as a registry would have it.
type pullImage struct {
	dir string
	// Manifest is the manifest's digest. Its blob lies in the directory under its digest's hex, as all others do.
	Manifest string
	// Layers are the digests of the compressed layers, the lowest first.
	Layers []string
	// Bytes are those of the uncompressed tars, Entries their files and directories.
	Bytes, Entries int64
}

// blob is where the bytes with a digest lie.
func (i *pullImage) blob(digest string) string {
	return filepath.Join(i.dir, filepath.Base(digest[len("sha256:"):]))
}

// manyLayers gives the image, from the cache if it is there.
func manyLayers() (*pullImage, error) {
	i := &pullImage{dir: pullImageCache}
	data, err := os.ReadFile(filepath.Join(i.dir, "image.json"))
	if err == nil {
		return i, json.Unmarshal(data, i)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(i.dir), 0o755); err != nil {
		return nil, err
	}
	if i.dir, err = os.MkdirTemp(filepath.Dir(i.dir), "new-"); err != nil {
		return nil, err
	}
	defer os.RemoveAll(i.dir)
	if err := i.make(); err != nil {
		return nil, fmt.Errorf("make the image to pull: %w", err)
	}
	if err := os.Rename(i.dir, pullImageCache); err != nil {
		return nil, err
	}
	made := *i
	made.dir = pullImageCache
	return &made, nil
}

// make writes the blobs, and image.json last.
func (i *pullImage) make() error {
	pieces, err := piecesOfUsr()
	if err != nil {
		return err
	}
	type descriptor struct {
		MediaType string `json:"mediaType"`
		Digest    string `json:"digest"`
		Size      int64  `json:"size"`
	}
	const oci = "application/vnd.oci.image."
	var layers []descriptor
	var diffIDs []string
	for _, p := range pieces {
		digest, size, diffID, err := i.layer(p.names)
		if err != nil {
			return err
		}
		layers = append(layers, descriptor{oci + "layer.v1.tar+gzip", digest, size})
		i.Layers, diffIDs = append(i.Layers, digest), append(diffIDs, diffID)
		i.Entries += int64(len(p.names))
	}
	config, size, err := i.put(map[string]any{
		"os": "linux", "architecture": runtime.GOARCH, "rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	})
	if err != nil {
		return err
	}
	i.Manifest, _, err = i.put(map[string]any{
		"schemaVersion": 2, "mediaType": oci + "manifest.v1+json", "config": descriptor{oci + "config.v1+json", config, size}, "layers": layers,
	})
	if err != nil {
		return err
	}
	data, err := json.Marshal(i)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(i.dir, "image.json"), data, 0o644)
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

// layer packs files of /usr.
func (i *pullImage) layer(names []string) (digest string, size int64, diffID string, err error) {
	out, err := os.CreateTemp(i.dir, "layer-")
	if err != nil {
		return "", 0, "", err
	}
	defer out.Close()
	compressed, plain := sha256.New(), sha256.New()
	z := gzip.NewWriter(io.MultiWriter(out, compressed))
	tar := exec.Command("tar", "--create", "--directory=/usr", "--no-recursion", "--null", "--files-from=-")
	count := &counter{w: io.MultiWriter(z, plain)}
	tar.Stdin, tar.Stdout, tar.Stderr = strings.NewReader(strings.Join(names, "\x00")), count, os.Stderr
	if err := tar.Run(); err != nil {
		return "", 0, "", fmt.Errorf("tar: %w", err)
	}
	if err := z.Close(); err != nil {
		return "", 0, "", err
	}
	i.Bytes += count.n
	at, err := out.Seek(0, io.SeekCurrent)
	if err != nil {
		return "", 0, "", err
	}
	digest = digestOf(compressed)
	return digest, at, digestOf(plain), os.Rename(out.Name(), i.blob(digest))
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

// piece is what one layer is made of: names below /usr, each directory before what is in it.
type piece struct {
	names []string
	bytes int64 // of the files
}

// piecesOfUsr cuts the roots' trees into pieces of about pullLayerBytes and takes one of each root in turns, until there are pullImageBytes.
func piecesOfUsr() (pieces []piece, err error) {
	var queues [][]piece
	for _, root := range pullRoots {
		queue, err := piecesOf(root)
		if err != nil {
			return nil, err
		}
		queues = append(queues, queue)
	}
	for bytes := int64(0); bytes < pullImageBytes; {
		queues = slices.DeleteFunc(queues, func(q []piece) bool { return len(q) == 0 })
		if len(queues) == 0 {
			return nil, fmt.Errorf("/usr has too few files for %d MB", pullImageBytes>>20)
		}
		for i, q := range queues {
			if bytes < pullImageBytes {
				pieces, bytes = append(pieces, q[0]), bytes+q[0].bytes
				queues[i] = q[1:]
			}
		}
	}
	return pieces, nil
}

// piecesOf walks one root, for as many pieces as a whole image takes at most.
func piecesOf(root string) (pieces []piece, err error) {
	var p piece
	err = fs.WalkDir(os.DirFS("/usr"), root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().IsRegular() {
			if info.Size() > pullLargest {
				return nil
			}
			p.bytes += info.Size()
		}
		p.names = append(p.names, path)
		if p.bytes < pullLayerBytes {
			return nil
		}
		pieces, p = append(pieces, p), piece{}
		if len(pieces)*pullLayerBytes >= pullImageBytes {
			return fs.SkipAll
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return pieces, err
}
