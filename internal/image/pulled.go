package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Remote is where a pull's bytes come from: one name in one repository of a registry. Safe for concurrent use. What it gives is a stranger's word, which
// Pull verifies; bounds on time and on retries are the Remote's.
type Remote interface {
	// Document reads an index or a manifest: the one with the digest d, or, where d is zero, the one that the name leads to. More than most bytes are
	// an error. mediaType is what the registry calls it, "" where it doesn't say.
	Document(ctx context.Context, d Digest, most int64) (data []byte, mediaType string, err error)
	// Blob begins to read a config or a layer of size bytes. Its reader gives up when ctx ends.
	Blob(ctx context.Context, d Digest, size int64) (io.ReadCloser, error)
	// Wrong tells that what Blob gave last of d has another digest, or made no sense before its digest was known. It reports whether Blob is worth
	// another try, because somebody else may have better bytes.
	Wrong(d Digest) (again bool)
}

// PullOptions says how an image is pulled.
type PullOptions struct {
	// Parallel is how many layers are fetched and unpacked at a time; 0: 4.
	Parallel int
	// Progress, if set, is told of each layer, from the lowest up, before any is begun; then how far each is, by several goroutines at a time.
	Progress func(LayerProgress)
}

// Pull makes the image that name ("host/repository:tag" or "host/repository@sha256:…") leads to at the remote for this node's platform. Layers go straight
// into their directories as their bytes come, several at a time; those that the store has aren't fetched. An image that is there already gains the name.
// On an error nothing is left; what is malformed, too large or for another platform is ErrInvalid.
func (s *Store) Pull(ctx context.Context, name string, r Remote, o PullOptions) (Image, error) {
	full, err := NormalizeName(name)
	if err != nil {
		return Image{}, err
	}
	p := puller{s: s, r: r}
	if err := p.resolve(ctx, full); err != nil {
		return Image{}, fmt.Errorf("pull %s: %w", full, err)
	}
	pins := s.Pins()
	defer pins.Release()
	if err := p.layers(ctx, pins, o); err != nil {
		return Image{}, fmt.Errorf("pull %s: %w", full, err)
	}
	img, err := s.addPulled(ctx, full, &p)
	if err != nil {
		return Image{}, fmt.Errorf("pull %s: %w", full, err)
	}
	return img, nil
}

// puller is one pull. seen and bytes count over all its documents, as layoutReader's do.
type puller struct {
	s           *Store
	r           Remote
	seen        int
	bytes       int64
	target      Digest // of the document that the name leads to
	manifest    *document
	config      Config
	configBytes []byte
}

// resolve follows the name to a manifest for this node and reads the config.
func (p *puller) resolve(ctx context.Context, full string) error {
	want, err := digestIn(full)
	if err != nil {
		return err
	}
	d := descriptor{Digest: want, Size: -1}
	for depth := 1; p.manifest == nil; depth++ {
		if depth > maxIndexDepth {
			return invalid("indexes nested deeper than %d", maxIndexDepth)
		}
		doc, kind, err := p.document(ctx, &d)
		if err != nil {
			return err
		}
		if depth == 1 {
			p.target = d.Digest
		}
		if kind == kindManifest {
			p.manifest = doc
			break
		}
		if p.seen += len(*doc.Manifests); p.seen > maxDescriptors {
			return invalid("more than %d descriptors in all indexes", maxDescriptors)
		}
		if d, err = choose(*doc.Manifests); err != nil {
			return err
		}
	}
	if p.manifest.isArtifact() {
		return nil
	}
	if err := p.readConfig(ctx); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	return p.checkConfig()
}

// digestIn gives the digest of a normalized name, zero where it has a tag.
func digestIn(full string) (Digest, error) {
	for i := range len(full) {
		if full[i] == '@' {
			return ParseDigest(full[i+1:])
		}
	}
	return Digest{}, nil
}

// document reads what d points at and sets d's digest where it had none.
func (p *puller) document(ctx context.Context, d *descriptor) (*document, documentKind, error) {
	most := int64(maxManifestBytes)
	if d.Size > most {
		return nil, 0, invalid("%s has %d bytes: at most %d", d.Digest, d.Size, most)
	}
	data, mediaType, err := p.r.Document(ctx, d.Digest, most)
	if err != nil {
		return nil, 0, err
	}
	if int64(len(data)) > most {
		return nil, 0, invalid("a document of %d bytes: at most %d", len(data), most)
	}
	if p.bytes += int64(len(data)); p.bytes > maxDocumentBytes {
		return nil, 0, invalid("indexes and manifests of more than %d bytes together", maxDocumentBytes)
	}
	if d.Size >= 0 && int64(len(data)) != d.Size {
		return nil, 0, invalid("%s has %d bytes: its descriptor says %d", d.Digest, len(data), d.Size)
	}
	if d.Digest.IsZero() {
		d.Digest = digestOf(data)
	} else if !d.Digest.matches(data) {
		return nil, 0, invalid("the document of %s has the digest %s", d.Digest, digestOf(data))
	}
	if d.MediaType != "" && mediaType != "" && d.MediaType != mediaType {
		return nil, 0, invalid("%s: the registry calls it %s and its descriptor %s", d.Digest, quote(mediaType), quote(d.MediaType))
	}
	if mediaType == "" {
		mediaType = d.MediaType
	}
	doc, kind, err := parseDocument(data, mediaType)
	if err != nil {
		return nil, 0, invalid("%s: %w", d.Digest, err)
	}
	return doc, kind, nil
}

// readConfig reads the config, from the store if it is there.
func (p *puller) readConfig(ctx context.Context) error {
	d := p.manifest.Config
	if data, err := p.s.RawConfig(d.Digest); err == nil && int64(len(data)) == d.Size {
		p.configBytes = data
		return nil
	}
	for {
		data, err := p.fetchConfig(ctx, d)
		if err == nil {
			p.configBytes = data
			return nil
		}
		if !errors.Is(err, ErrInvalid) || !p.r.Wrong(d.Digest) {
			return err
		}
	}
}

func (p *puller) fetchConfig(ctx context.Context, d *descriptor) ([]byte, error) {
	blob, err := p.r.Blob(ctx, d.Digest, d.Size)
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	// parseDocument bounded the size.
	data, err := io.ReadAll(io.LimitReader(blob, d.Size+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) != d.Size {
		return nil, invalid("%s has not the %d bytes its descriptor says", d.Digest, d.Size)
	}
	if !d.Digest.matches(data) {
		return nil, invalid("the bytes of %s have the digest %s", d.Digest, digestOf(data))
	}
	return data, nil
}

func (p *puller) checkConfig() error {
	config, err := parseConfig(p.configBytes)
	if err != nil {
		return err
	}
	if n := len(*p.manifest.Layers); n != len(config.diffIDs) {
		return invalid("%d layers in the manifest, %d in the config", n, len(config.diffIDs))
	}
	own := platform{OS: config.OS, Architecture: config.Architecture}
	if own.rank() == 0 {
		return invalid("it is for %s, this node is %s", quote(own.String()), &hostPlatform)
	}
	p.config = config
	return nil
}

// layers makes sure of all layers, several at a time.
func (p *puller) layers(ctx context.Context, pins *Pins, o PullOptions) error {
	parallel := o.Parallel
	if parallel <= 0 {
		parallel = layersAtATime
	}
	if p.manifest.isArtifact() {
		return p.s.eachLayer(ctx, 1, []int64{0}, func(ctx context.Context, _ int) error { return p.artifact(ctx, pins, o.Progress) })
	}
	var sizes []int64
	for i, d := range *p.manifest.Layers {
		sizes = append(sizes, d.Size)
		if o.Progress != nil {
			o.Progress(LayerProgress{DiffID: p.config.diffIDs[i], Blob: d.Digest, Size: d.Size})
		}
	}
	return p.s.eachLayer(ctx, parallel, sizes, func(ctx context.Context, i int) error { return p.layer(ctx, pins, i, o.Progress) })
}

func (p *puller) layer(ctx context.Context, pins *Pins, i int, progress func(LayerProgress)) error {
	d := (*p.manifest.Layers)[i]
	src := LayerSource{
		DiffID: p.config.diffIDs[i], Blob: d.Digest, Size: d.Size, Progress: progress,
		Open: func(ctx context.Context) (io.ReadCloser, error) { return p.r.Blob(ctx, d.Digest, d.Size) },
	}
	for {
		err := p.s.EnsureLayer(ctx, pins, src)
		var unverified *unverifiedError
		if !errors.As(err, &unverified) || !p.r.Wrong(d.Digest) {
			return err
		}
	}
}

// addPulled makes the image visible. Unlike AddImage it takes a name with a digest, which becomes no tag.
func (s *Store) addPulled(ctx context.Context, full string, p *puller) (Image, error) {
	now := time.Now().UTC()
	fresh := &imageState{config: p.config, imageRecord: imageRecord{
		ID: digestOf(p.configBytes), Layers: p.config.diffIDs, ConfigBytes: int64(len(p.configBytes)), Imported: now, Named: now,
	}}
	if !hasDigest(full) {
		fresh.Tags = []string{full}
	}
	digested, err := withDigest(full, p.target)
	if err != nil {
		return Image{}, err
	}
	fresh.RepoDigests = []string{digested}
	defer s.wakeSync()
	if err := s.settleLayers(fresh.Layers); err != nil {
		return Image{}, err
	}
	users, err := s.readUsers(fresh.Layers)
	if err != nil {
		return Image{}, err
	}
	if ctx.Err() != nil {
		return Image{}, context.Cause(ctx)
	}
	return s.commitImage(fresh, p.configBytes, users)
}

// Matches reports whether b has the digest d.
func (d Digest) Matches(b []byte) bool { return !d.IsZero() && d.matches(b) }
