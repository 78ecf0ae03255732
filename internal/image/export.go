package image

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Compression is how layers are written by Export.
type Compression string

const (
	// Uncompressed layers have their diffID for a digest, so that an export is the same bytes whatever version of podlet made it.
	Uncompressed Compression = ""
	Gzip         Compression = "gzip"
	Zstd         Compression = "zstd"
)

// ExportOptions says how images are exported.
type ExportOptions struct {
	Compression Compression
	// Progress, if set, is told how far a layer is: Read are bytes of its uncompressed tar.
	Progress func(LayerProgress)
}

// ExportDir writes the images that refs name (as in Get) as an OCI image layout into the directory dir, which is made, or is empty. An image named by a tag is exported under
// that name, else under all it has. Its id stays: config and layers' tars are the very bytes that were pulled or imported. On an error
// what was written stays behind, without an index.json.
func (s *Store) ExportDir(ctx context.Context, dir string, refs []string, o ExportOptions) error {
	sink, err := newDirSink(dir)
	if err != nil {
		return fmt.Errorf("export to %s: %w", dir, err)
	}
	if err := s.export(ctx, sink, refs, o); err != nil {
		return fmt.Errorf("export to %s: %w", dir, err)
	}
	return nil
}

// ExportTar is ExportDir into one tar, that "docker load" reads as well.
func (s *Store) ExportTar(ctx context.Context, w io.Writer, refs []string, o ExportOptions) error {
	if err := s.export(ctx, newTarSink(s, w), refs, o); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return nil
}

// exporter is one export.
type exporter struct {
	s    *Store
	ctx  context.Context
	o    ExportOptions
	sink sink
	pins *Pins
	// blobs are those that are written, of a layer by its diffID.
	blobs     map[Digest]layoutDescriptor
	manifests []layoutDescriptor
	docker    []dockerEntry
}

// layoutDescriptor is a descriptor as an exported layout has it. The order of its fields is that of their JSON.
type layoutDescriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      Digest            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    *layoutPlatform   `json:"platform,omitempty"`
}

type layoutPlatform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
}

type layoutManifest struct {
	SchemaVersion int                `json:"schemaVersion"`
	MediaType     string             `json:"mediaType"`
	Config        layoutDescriptor   `json:"config"`
	Layers        []layoutDescriptor `json:"layers"`
}

type layoutIndex struct {
	SchemaVersion int                `json:"schemaVersion"`
	MediaType     string             `json:"mediaType"`
	Manifests     []layoutDescriptor `json:"manifests"`
}

func (s *Store) export(ctx context.Context, to sink, refs []string, o ExportOptions) error {
	if len(refs) == 0 {
		return invalid("no image named")
	}
	e := &exporter{s: s, ctx: ctx, o: o, sink: to, pins: s.Pins(), blobs: map[Digest]layoutDescriptor{}}
	defer e.pins.Release()
	for _, ref := range refs {
		if err := e.image(ref); err != nil {
			return fmt.Errorf("image %s: %w", quote(ref), err)
		}
	}
	return e.finish()
}

// finish writes what makes a layout of the blobs; index.json last.
func (e *exporter) finish() error {
	docker, err := json.Marshal(e.docker)
	if err != nil {
		return err
	}
	index, err := json.Marshal(layoutIndex{SchemaVersion: 2, MediaType: typeOCIIndex, Manifests: e.manifests})
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)}, {dockerManifest, docker}, {"index.json", index}} {
		if err := e.sink.put(f.name, f.data); err != nil {
			return err
		}
	}
	return e.sink.close()
}

func (e *exporter) image(ref string) error {
	img, layers, err := e.s.pinImage(ref, e.pins)
	if err != nil {
		return err
	}
	config, err := e.s.RawConfig(img.ID)
	if err != nil {
		return err
	}
	m := layoutManifest{SchemaVersion: 2, MediaType: typeOCIManifest}
	if m.Config, err = e.document(typeOCIConfig, config); err != nil {
		return err
	}
	d := dockerEntry{Config: blobPath(img.ID), RepoTags: exportNames(ref, &img)}
	for i := range layers {
		at, err := e.layer(&layers[i])
		if err != nil {
			return fmt.Errorf("layer %s: %w", layers[i].DiffID, err)
		}
		m.Layers = append(m.Layers, at)
		d.Layers = append(d.Layers, blobPath(at.Digest))
	}
	manifest, err := json.Marshal(m)
	if err != nil {
		return err
	}
	at, err := e.document(typeOCIManifest, manifest)
	if err != nil {
		return err
	}
	at.Platform = &layoutPlatform{Architecture: img.Config.Architecture, OS: img.Config.OS, Variant: img.Config.Variant}
	e.list(at, d)
	return nil
}

// list puts an image into the two indexes, once for each name.
func (e *exporter) list(at layoutDescriptor, d dockerEntry) {
	names := d.RepoTags
	if i := slices.IndexFunc(e.docker, func(o dockerEntry) bool { return o.Config == d.Config }); i >= 0 {
		// Named twice, as two of its tags for instance.
		names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(e.docker[i].RepoTags, n) })
		e.docker[i].RepoTags = append(e.docker[i].RepoTags, names...)
	} else {
		e.docker = append(e.docker, d)
		if len(names) == 0 {
			e.manifests = append(e.manifests, at)
		}
	}
	for _, n := range names {
		at.Annotations = map[string]string{annotationImageName: n, annotationRefName: n[strings.LastIndexByte(n, ':')+1:]}
		e.manifests = append(e.manifests, at)
	}
}

// exportNames are those that the image is exported under.
func exportNames(ref string, img *Image) []string {
	if full, err := NormalizeName(ref); err == nil && slices.Contains(img.Tags, full) {
		return []string{full}
	}
	return slices.Clone(img.Tags)
}

// pinImage finds an image and keeps its layers.
func (s *Store) pinImage(ref string, pins *Pins) (Image, []layerRecord, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.findLocked(ref)
	if err != nil {
		return Image{}, nil, err
	}
	var layers []layerRecord
	for _, id := range i.Layers {
		l := s.mu.layers[id]
		l.pins++
		pins.layers = append(pins.layers, id)
		layers = append(layers, l.layerRecord)
	}
	return s.viewLocked(i), layers, nil
}

// document writes a blob that is in memory.
func (e *exporter) document(mediaType string, data []byte) (layoutDescriptor, error) {
	at := layoutDescriptor{MediaType: mediaType, Digest: digestOf(data), Size: int64(len(data))}
	if _, done := e.blobs[at.Digest]; done {
		return at, nil
	}
	e.blobs[at.Digest] = at
	return at, e.sink.put(blobPath(at.Digest), data)
}

// layer writes a layer's blob, once.
func (e *exporter) layer(l *layerRecord) (layoutDescriptor, error) {
	if at, done := e.blobs[l.DiffID]; done {
		e.report(LayerProgress{DiffID: l.DiffID, Done: true, Shared: true})
		return at, nil
	}
	if l.Headers == 0 {
		return layoutDescriptor{}, noHeaders(l)
	}
	at, err := e.writeLayer(l)
	if err != nil {
		return layoutDescriptor{}, err
	}
	e.blobs[l.DiffID] = at
	e.report(LayerProgress{DiffID: l.DiffID, Read: l.TarBytes, Size: l.TarBytes, Done: true})
	return at, nil
}

func (e *exporter) report(p LayerProgress) {
	if e.o.Progress != nil {
		e.o.Progress(p)
	}
}

func (e *exporter) writeLayer(l *layerRecord) (layoutDescriptor, error) {
	told := &tellingWriter{e: e, at: LayerProgress{DiffID: l.DiffID, Size: l.TarBytes}}
	if e.o.Compression == Uncompressed {
		at := layoutDescriptor{MediaType: "application/vnd.oci.image.layer.v1.tar", Digest: l.DiffID, Size: l.TarBytes}
		return at, e.sink.stream(blobPath(at.Digest), at.Size, func(w io.Writer) error {
			told.w = w
			return e.s.writeTar(e.ctx, l, told)
		})
	}
	f, err := e.sink.create()
	if err != nil {
		return layoutDescriptor{}, err
	}
	defer f.Close()
	h := l.DiffID.newHash()
	out := &counter{w: io.MultiWriter(f, h)}
	z, mediaType, err := compressor(out, e.o.Compression)
	if err != nil {
		e.sink.drop(f)
		return layoutDescriptor{}, err
	}
	told.w = z
	err = e.s.writeTar(e.ctx, l, told)
	if closed := z.Close(); err == nil {
		err = closed
	}
	if err != nil {
		e.sink.drop(f)
		return layoutDescriptor{}, err
	}
	at := layoutDescriptor{MediaType: mediaType, Digest: l.DiffID.sum(h), Size: out.n}
	return at, e.sink.keep(f, blobPath(at.Digest), at.Size)
}

func compressor(w io.Writer, c Compression) (io.WriteCloser, string, error) {
	const layer = "application/vnd.oci.image.layer.v1.tar"
	switch c {
	case Gzip:
		return gzip.NewWriter(w), layer + "+gzip", nil
	case Zstd:
		// One goroutine writes the same bytes whatever the machine.
		z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
		return z, layer + "+zstd", err
	}
	return nil, "", invalid("compression %s: want gzip, zstd or none", quote(string(c)))
}

// tellingWriter tells how far a layer is, about every MiB.
type tellingWriter struct {
	e     *exporter
	w     io.Writer
	at    LayerProgress
	since int64
}

func (t *tellingWriter) Write(p []byte) (int, error) {
	n, err := t.w.Write(p)
	t.at.Read += int64(n)
	if t.since += int64(n); t.since >= 1<<20 {
		t.since = 0
		t.e.report(t.at)
	}
	return n, err
}
