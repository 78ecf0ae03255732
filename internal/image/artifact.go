package image

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"
)

// An OCI artifact is a manifest whose config is no image's (OCI image specification, manifest.md, "Guidelines for Artifact Usage"): models, data, policies. As an image volume it is a directory
// with a file for each of its blobs, named by the annotation org.opencontainers.image.title, as oras writes it, or else by its digest. Blobs are not unpacked, whatever they are.
//
// In the store it is an image like others, of one layer: the tar of these files, which is made while the blobs come, and a config made here. So everything that is done with
// images can be done with it, and its name and digest lead to it; only its id is of podlet's making. There is nothing in it to start.
const annotationTitle = "org.opencontainers.image.title"

// isArtifact: the manifest's config is no image's.
func (d *document) isArtifact() bool {
	return d.Config != nil && d.Config.MediaType != typeOCIConfig && d.Config.MediaType != typeDockerConfig
}

// refuseArtifact is for those who need an image's config.
func (d *document) refuseArtifact() error {
	if d.isArtifact() {
		return invalid("config has the media type %s: an OCI artifact and not a container image; it can be pulled from a registry, for an image volume", quote(d.Config.MediaType))
	}
	return nil
}

// artifactFiles gives the names of an artifact's blobs.
func artifactFiles(layers []descriptor) ([]string, error) {
	names := make([]string, len(layers))
	seen := map[string]bool{}
	for i := range layers {
		title := layers[i].Annotations[annotationTitle]
		if title == "" {
			title = strings.ReplaceAll(layers[i].Digest.String(), ":", "-")
		}
		name, err := cleanName(title)
		switch {
		case err != nil:
			return nil, invalid("blob %d of the artifact: %w", i, err)
		case name == "" || strings.HasPrefix(title, "/") || strings.HasPrefix(name, whiteoutPrefix) || strings.Contains(name, "/"+whiteoutPrefix):
			return nil, invalid("blob %d of the artifact has the title %s: no relative path of a file", i, quote(title))
		case seen[name]:
			return nil, invalid("blob %d of the artifact has the title %s, and so has another", i, quote(title))
		}
		names[i], seen[name] = name, true
	}
	return names, nil
}

// artifact makes the artifact's layer and its config, unless the store has them under the digest that was asked for.
func (p *puller) artifact(ctx context.Context, pins *Pins, progress func(LayerProgress)) error {
	names, err := artifactFiles(*p.manifest.Layers)
	if err != nil {
		return err
	}
	if had := p.s.withRepoDigest(p.target); had != nil {
		shared := p.s.pin(pins, had.Layers[0])
		if data, err := p.s.RawConfig(had.ID); shared && err == nil {
			p.config, p.configBytes = had.config, data
			return nil
		}
	}
	for {
		t := &artifactTar{ctx: ctx, r: p.r, layers: *p.manifest.Layers, names: names}
		id, err := p.s.ensureUnnamed(ctx, pins, LayerSource{Size: -1, Progress: progress, Open: func(ctx context.Context) (io.ReadCloser, error) {
			t.ctx = ctx
			return t, nil
		}})
		if err == nil {
			return p.artifactConfig(id)
		}
		if t.wrong.IsZero() || !p.r.Wrong(t.wrong) {
			return err
		}
	}
}

// artifactConfig is the config of an image of that one layer.
func (p *puller) artifactConfig(layer Digest) (err error) {
	p.configBytes, err = json.Marshal(map[string]any{
		"os": hostPlatform.OS, "architecture": hostPlatform.Architecture, "rootfs": map[string]any{"type": "layers", "diff_ids": []Digest{layer}},
	})
	if err == nil {
		p.config, err = parseConfig(p.configBytes)
	}
	return err
}

// withRepoDigest gives an image that was pulled by the digest of this document, nil for none.
func (s *Store) withRepoDigest(d Digest) *imageState {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.mu.images {
		for _, name := range i.RepoDigests {
			if strings.HasSuffix(name, "@"+d.String()) && len(i.Layers) == 1 && !i.Removed {
				return i
			}
		}
	}
	return nil
}

// pin pins the layer if it is there.
func (s *Store) pin(pins *Pins, id Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.mu.layers[id]
	if l == nil {
		return false
	}
	l.pins++
	pins.layers = append(pins.layers, id)
	return true
}

// artifactTar is the tar of an artifact's files, as a stream: each blob is begun when the one before it has ended, and must have the size and digest of its descriptor.
type artifactTar struct {
	ctx    context.Context
	r      Remote
	layers []descriptor
	names  []string

	begun bool
	next  int       // index of the blob that is begun next
	part  io.Reader // what is being read beside blobs: headers, padding
	blob  io.ReadCloser
	hash  hash.Hash // of blob
	left  int64     // of blob
	ended bool
	wrong Digest // of a blob whose bytes aren't its own
}

func (t *artifactTar) Read(p []byte) (int, error) {
	for {
		if t.part != nil {
			n, err := t.part.Read(p)
			if n > 0 || err != io.EOF {
				return n, err
			}
			t.part = nil
		}
		if t.blob != nil {
			n, err := t.readBlob(p)
			if n > 0 || err != nil {
				return n, err
			}
			continue
		}
		switch {
		case t.ended:
			return 0, io.EOF
		case !t.begun:
			t.begun = true
			t.part = bytes.NewReader(tarHeader(tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755}))
		case t.next == len(t.layers):
			t.ended = true
			t.part = bytes.NewReader(make([]byte, 1024))
		default:
			if err := t.beginBlob(); err != nil {
				return 0, err
			}
		}
	}
}

func (t *artifactTar) beginBlob() error {
	d := &t.layers[t.next]
	blob, err := t.r.Blob(t.ctx, d.Digest, d.Size)
	if err != nil {
		return err
	}
	t.part = bytes.NewReader(tarHeader(tar.Header{Typeflag: tar.TypeReg, Name: t.names[t.next], Mode: 0o644, Size: d.Size}))
	t.blob, t.hash, t.left = blob, d.Digest.newHash(), d.Size
	t.next++
	return nil
}

// readBlob gives 0 and nil at the blob's end, once it was verified.
func (t *artifactTar) readBlob(p []byte) (int, error) {
	d := &t.layers[t.next-1]
	if t.left > 0 {
		n, err := t.blob.Read(p[:min(int64(len(p)), t.left)])
		t.hash.Write(p[:n])
		t.left -= int64(n)
		if errors.Is(err, io.EOF) && t.left > 0 {
			t.wrong = d.Digest
			return n, invalid("%s ends %d bytes before the %d its descriptor says", d.Digest, t.left, d.Size)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return n, err
		}
		if n > 0 {
			return n, nil
		}
		return 0, nil
	}
	if n, _ := io.ReadFull(t.blob, make([]byte, 1)); n > 0 {
		t.wrong = d.Digest
		return 0, invalid("%s is longer than the %d bytes its descriptor says", d.Digest, d.Size)
	}
	if got := d.Digest.sum(t.hash); got != d.Digest {
		t.wrong = d.Digest
		return 0, invalid("the bytes of %s have the digest %s", d.Digest, got)
	}
	err := t.blob.Close()
	t.blob = nil
	t.part = bytes.NewReader(make([]byte, -d.Size&511))
	return 0, err
}

func (t *artifactTar) Close() error {
	if t.blob == nil {
		return nil
	}
	return t.blob.Close()
}

// tarHeader gives a header's blocks; without times and owners, so that the same files are the same layer.
func tarHeader(h tar.Header) []byte {
	h.ModTime, h.Format = time.Unix(0, 0), tar.FormatPAX
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(&h); err != nil {
		panic(fmt.Sprintf("a header of checked values: %v", err))
	}
	return b.Bytes()
}
