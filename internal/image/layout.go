package image

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
)

// found is an image in an archive, not yet imported.
type found struct {
	// names are full names with a tag.
	names []string
	// target is the digest of the manifest or index that the archive lists, zero where it has none.
	target Digest
	config []byte
	layers []foundLayer // the lowest first
}

type foundLayer struct {
	file string // in the archive
	blob Digest // zero: unknown
	size int64  // -1: unknown
}

// readLayout finds the images of an OCI image layout (image-layout.md) that this node can run.
func readLayout(a archive, base string) ([]*found, error) {
	l := layoutReader{a: a, read: map[Digest]*found{}}
	data, err := l.document("index.json", Digest{}, -1)
	if err != nil {
		return nil, err
	}
	doc, kind, err := parseDocument(data, "")
	if err != nil {
		return nil, invalid("index.json: %w", err)
	}
	if kind != kindIndex {
		return nil, invalid("index.json is no index")
	}
	if err := l.see(len(*doc.Manifests)); err != nil {
		return nil, err
	}
	var all []*found
	for _, d := range *doc.Manifests {
		f, err := l.topLevel(d)
		if err != nil {
			return nil, err
		}
		if f == nil {
			continue
		}
		if err := f.addName(d, base); err != nil {
			return nil, err
		}
		if !slices.Contains(all, f) {
			all = append(all, f)
		}
	}
	if len(all) == 0 {
		return nil, invalid("no image for %s in it: there are %s", &hostPlatform, platforms(*doc.Manifests))
	}
	return all, nil
}

// layoutReader counts what is read over all documents of one import: an index of indexes must not become a tree (CVE-2026-53493).
type layoutReader struct {
	a     archive
	bytes int64
	seen  int // descriptors
	read  map[Digest]*found
}

func (l *layoutReader) see(descriptors int) error {
	if l.seen += descriptors; l.seen > maxDescriptors {
		return invalid("more than %d descriptors in all indexes", maxDescriptors)
	}
	return nil
}

// topLevel reads what a descriptor of index.json leads to; nil: nothing for this node.
func (l *layoutReader) topLevel(d descriptor) (*found, error) {
	if f, ok := l.read[d.Digest]; ok {
		return f, nil
	}
	if _, ok := kindOfType(d.MediaType); !ok || d.Platform.rank() == 0 {
		return nil, nil
	}
	f, err := l.resolve(d, 1)
	if err != nil {
		return nil, invalid("%s: %w", d.Digest, err)
	}
	if f != nil {
		f.target = d.Digest
	}
	l.read[d.Digest] = f
	return f, nil
}

// resolve follows indexes down to a manifest.
func (l *layoutReader) resolve(d descriptor, depth int) (*found, error) {
	if depth > maxIndexDepth {
		return nil, invalid("indexes nested deeper than %d", maxIndexDepth)
	}
	data, err := l.document(blobPath(d.Digest), d.Digest, d.Size)
	if err != nil {
		return nil, err
	}
	doc, kind, err := parseDocument(data, d.MediaType)
	if err != nil {
		return nil, err
	}
	if kind == kindManifest {
		if err := doc.refuseArtifact(); err != nil {
			return nil, err
		}
		return l.manifest(doc)
	}
	if err := l.see(len(*doc.Manifests)); err != nil {
		return nil, err
	}
	next, err := choose(*doc.Manifests)
	if err != nil {
		return nil, err
	}
	return l.resolve(next, depth+1)
}

func (l *layoutReader) manifest(doc *document) (*found, error) {
	config, err := readBlob(l.a, doc.Config.Digest, doc.Config.Size, maxConfigBytes)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	f := &found{config: config}
	for _, d := range *doc.Layers {
		f.layers = append(f.layers, foundLayer{file: blobPath(d.Digest), blob: d.Digest, size: d.Size})
	}
	return f, nil
}

// document reads an index or a manifest; d zero: index.json, whose digest nobody says.
func (l *layoutReader) document(name string, d Digest, size int64) ([]byte, error) {
	var data []byte
	var err error
	if d.IsZero() {
		data, err = readAll(l.a, name, maxManifestBytes)
	} else {
		data, err = readBlob(l.a, d, size, maxManifestBytes)
	}
	if err != nil {
		return nil, err
	}
	if l.bytes += int64(len(data)); l.bytes > maxDocumentBytes {
		return nil, invalid("indexes and manifests of more than %d bytes together", maxDocumentBytes)
	}
	return data, nil
}

// readBlob reads a blob into memory and verifies it.
func readBlob(a archive, d Digest, size, most int64) ([]byte, error) {
	if size > most {
		return nil, invalid("%s has %d bytes: at most %d", d, size, most)
	}
	data, err := readAll(a, blobPath(d), most)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, invalid("%s is not in the archive: %w", d, err)
	}
	if err != nil {
		return nil, err
	}
	if int64(len(data)) != size {
		return nil, invalid("%s has %d bytes: its descriptor says %d", d, len(data), size)
	}
	if !d.matches(data) {
		return nil, invalid("the file of %s has the digest %s", d, digestOf(data))
	}
	return data, nil
}

func blobPath(d Digest) string {
	algorithm := "sha256"
	if len(d.Hex()) == 128 {
		algorithm = "sha512"
	}
	return path.Join("blobs", algorithm, d.Hex())
}

// addName takes the image's name from a descriptor of index.json: io.containerd.image.name is a full one; org.opencontainers.image.ref.name is one, or only a tag,
// which base then completes.
func (f *found) addName(d descriptor, base string) error {
	name := d.Annotations[annotationImageName]
	if name == "" {
		name = d.Annotations[annotationRefName]
		if isPlainTag(name) {
			if base == "" {
				return nil
			}
			tagged, err := withTag(base, name)
			if err != nil {
				return err
			}
			name = tagged
		}
	}
	if name == "" {
		return nil
	}
	full, err := NormalizeName(name)
	if err != nil {
		return err
	}
	if !hasDigest(full) && !slices.Contains(f.names, full) {
		f.names = append(f.names, full)
	}
	return nil
}
