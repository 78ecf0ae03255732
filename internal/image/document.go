package image

import (
	"encoding/json"
	"runtime"
	"strings"
)

// Media types of the OCI image specification and of Docker's image manifest version 2, schema 2.
const (
	typeOCIIndex       = "application/vnd.oci.image.index.v1+json"
	typeOCIManifest    = "application/vnd.oci.image.manifest.v1+json"
	typeOCIConfig      = "application/vnd.oci.image.config.v1+json"
	typeDockerIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
	typeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	typeDockerConfig   = "application/vnd.docker.container.image.v1+json"
)

// layerTypes are the media types of layers podlet can unpack. What the compression really is, the bytes say.
var layerTypes = map[string]bool{
	"application/vnd.oci.image.layer.v1.tar":                       true,
	"application/vnd.oci.image.layer.v1.tar+gzip":                  true,
	"application/vnd.oci.image.layer.v1.tar+zstd":                  true,
	"application/vnd.oci.image.layer.nondistributable.v1.tar":      true,
	"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": true,
	"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd": true,
	"application/vnd.docker.image.rootfs.diff.tar":                 true,
	"application/vnd.docker.image.rootfs.diff.tar.gzip":            true,
	"application/vnd.docker.image.rootfs.diff.tar.zstd":            true,
	"application/vnd.docker.image.rootfs.foreign.diff.tar":         true,
	"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip":    true,
}

const (
	annotationRefName   = "org.opencontainers.image.ref.name"
	annotationImageName = "io.containerd.image.name"
)

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      Digest            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations"`
	Platform    *platform         `json:"platform"`
}

type platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant"`
}

// document is an index or a manifest; which of them, kind says.
type document struct {
	SchemaVersion int           `json:"schemaVersion"`
	MediaType     string        `json:"mediaType"`
	Manifests     *[]descriptor `json:"manifests"`
	Config        *descriptor   `json:"config"`
	Layers        *[]descriptor `json:"layers"`
	// FSLayers is there in Docker's schema 1.
	FSLayers *json.RawMessage `json:"fsLayers"`
}

type documentKind int

const (
	kindIndex documentKind = iota
	kindManifest
)

// kindOfType says what a media type names; ok false: neither index nor manifest.
func kindOfType(mediaType string) (kind documentKind, ok bool) {
	switch mediaType {
	case typeOCIIndex, typeDockerIndex:
		return kindIndex, true
	case typeOCIManifest, typeDockerManifest:
		return kindManifest, true
	}
	return 0, false
}

// parseDocument decodes an index or a manifest. mediaType is the one its descriptor (or a registry's header) gave; "" where there is none, as for index.json.
//
// The media types of descriptor and document must agree, and the content must be of the kind they name: a document that is an index to one reader and a manifest
// to another passes a scanner as one thing and runs as another.
func parseDocument(data []byte, mediaType string) (*document, documentKind, error) {
	var d document
	if err := decodeStrict(data, &d); err != nil {
		return nil, 0, err
	}
	isIndex := d.Manifests != nil
	isManifest := d.Layers != nil || d.Config != nil
	switch {
	case isIndex && isManifest:
		return nil, 0, invalid("document has both manifests and layers or config: neither index nor manifest")
	case d.FSLayers != nil || d.SchemaVersion == 1:
		return nil, 0, invalid("Docker manifest of schema version 1: no longer supported, push the image anew with a current tool")
	case d.SchemaVersion != 2:
		return nil, 0, invalid("schemaVersion is %d, want 2", d.SchemaVersion)
	case !isIndex && !isManifest:
		return nil, 0, invalid("document has neither manifests nor layers")
	case d.MediaType != "" && mediaType != "" && d.MediaType != mediaType:
		return nil, 0, invalid("mediaType is %s in the document and %s in its descriptor", quote(d.MediaType), quote(mediaType))
	}
	if mediaType == "" {
		mediaType = d.MediaType
	}
	kind := kindManifest
	if isIndex {
		kind = kindIndex
	}
	if mediaType != "" {
		named, ok := kindOfType(mediaType)
		if !ok {
			return nil, 0, invalid("mediaType %s is no index or manifest of an image", quote(mediaType))
		}
		if named != kind {
			return nil, 0, invalid("mediaType %s doesn't fit the document's content", quote(mediaType))
		}
	}
	if err := d.check(kind); err != nil {
		return nil, 0, err
	}
	return &d, kind, nil
}

func (d *document) check(kind documentKind) error {
	if kind == kindIndex {
		if n := len(*d.Manifests); n > maxDescriptors {
			return invalid("index of %d manifests: at most %d", n, maxDescriptors)
		}
		for i := range *d.Manifests {
			if err := (*d.Manifests)[i].check(); err != nil {
				return invalid("manifest %d of the index: %w", i, err)
			}
		}
		return nil
	}
	if d.Config == nil || d.Layers == nil {
		return invalid("manifest without config or layers")
	}
	if err := d.Config.check(); err != nil {
		return invalid("config of the manifest: %w", err)
	}
	if d.Config.Size > maxConfigBytes {
		return invalid("config of %d bytes: at most %d", d.Config.Size, maxConfigBytes)
	}
	if n := len(*d.Layers); n == 0 || n > maxLayers {
		return invalid("manifest of %d layers: want 1 to %d", n, maxLayers)
	}
	for i := range *d.Layers {
		l := &(*d.Layers)[i]
		if err := l.check(); err != nil {
			return invalid("layer %d of the manifest: %w", i, err)
		}
		if !layerTypes[l.MediaType] && !d.isArtifact() {
			return invalid("layer %d of the manifest has the media type %s: not one podlet can unpack", i, quote(l.MediaType))
		}
	}
	return nil
}

func (d *descriptor) check() error {
	if d.Digest.IsZero() {
		return invalid("descriptor without digest")
	}
	if d.MediaType == "" {
		return invalid("descriptor of %s without mediaType", d.Digest)
	}
	if d.Size < 0 {
		return invalid("descriptor of %s: size %d", d.Digest, d.Size)
	}
	return nil
}

// hostPlatform is what this node runs.
var hostPlatform = platform{OS: "linux", Architecture: runtime.GOARCH}

// rank says how well p fits the node: 0 not at all, more is better.
func (p *platform) rank() int {
	if p == nil {
		return 1 // unknown; the config has the last word
	}
	if p.OS != hostPlatform.OS || p.Architecture != hostPlatform.Architecture {
		return 0
	}
	baseline := map[string]string{"amd64": "v1", "arm64": "v8"}[p.Architecture]
	if p.Variant == "" || p.Variant == baseline {
		return 3
	}
	// A higher variant may hold instructions this machine hasn't.
	return 0
}

func (p *platform) String() string {
	if p == nil {
		return "no platform"
	}
	return strings.TrimSuffix(p.OS+"/"+p.Architecture+"/"+p.Variant, "/")
}

// choose gives the index's manifest for this node; the first of equals.
func choose(manifests []descriptor) (descriptor, error) {
	best, rank := -1, 0
	for i := range manifests {
		if _, ok := kindOfType(manifests[i].MediaType); !ok {
			continue
		}
		if r := manifests[i].Platform.rank(); r > rank {
			best, rank = i, r
		}
	}
	if best >= 0 {
		return manifests[best], nil
	}
	return descriptor{}, invalid("no image for %s: there are %s", &hostPlatform, platforms(manifests))
}

func platforms(manifests []descriptor) string {
	var all []string
	for i := range manifests {
		if len(all) == 20 {
			all = append(all, "…")
			break
		}
		all = append(all, quote(manifests[i].Platform.String()))
	}
	return strings.Join(all, ", ")
}
