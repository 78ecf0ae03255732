package image

import (
	"strings"

	"github.com/distribution/reference"
)

// maxReferenceBytes is above any name (255), tag (128) and digest (135) together.
const maxReferenceBytes = 1024

// NormalizeName gives the full form of an image's name as the kubelet and containerd have it: "busybox" is "docker.io/library/busybox:latest";
// a name with a tag and a digest loses the tag.
func NormalizeName(name string) (string, error) {
	named, err := parseName(name)
	if err != nil {
		return "", err
	}
	return named.String(), nil
}

func parseName(name string) (reference.Named, error) {
	if len(name) > maxReferenceBytes {
		return nil, invalid("image name %s: longer than %d bytes", quote(name), maxReferenceBytes)
	}
	named, err := reference.ParseDockerRef(name)
	if err != nil {
		return nil, invalid("image name %s: %s", quote(name), whyNoName(err))
	}
	// The library takes a host with an underscore for a part of the path, and then there is no host.
	if reference.Domain(named) == "" {
		return nil, invalid("image name %s: what comes before the first / is no registry's host", quote(name))
	}
	if digested, ok := named.(reference.Digested); ok {
		// The library allows algorithms podlet has no use for.
		if _, err := ParseDigest(digested.Digest().String()); err != nil {
			return nil, invalid("image name %s: %w", quote(name), err)
		}
	}
	return named, nil
}

// whyNoName gives the library's reason without the name, which it repeats as it came: as long, and with whatever bytes.
func whyNoName(err error) string {
	before, rest, repeats := strings.Cut(err.Error(), " (")
	if !repeats {
		return before
	}
	return before + rest[strings.LastIndexByte(rest, ')')+1:]
}

// withDigest gives "repository@digest" for a name that has a tag or a digest.
func withDigest(name string, d Digest) (string, error) {
	named, err := parseName(name)
	if err != nil {
		return "", err
	}
	return reference.TrimNamed(named).String() + "@" + d.String(), nil
}

// withTag gives "repository:tag" for the repository of name.
func withTag(name, tag string) (string, error) {
	named, err := parseName(name)
	if err != nil {
		return "", err
	}
	tagged, err := reference.WithTag(reference.TrimNamed(named), tag)
	if err != nil {
		return "", invalid("image tag %s: %w", quote(tag), err)
	}
	return tagged.String(), nil
}

func hasDigest(normalized string) bool { return strings.Contains(normalized, "@") }

// isPlainTag: a text that could be a tag alone, as the OCI layout's ref.name often is.
func isPlainTag(s string) bool {
	return len(s) <= maxReferenceBytes && reference.TagRegexp.FindString(s) == s && s != "" && !strings.Contains(s, "/")
}

// idPrefix says which hex digits of an image id ref may stand for: a whole id with or without algorithm, or at least shortestID digits of it.
func idPrefix(ref string) (hex string, whole bool) {
	if d, err := ParseDigest(ref); err == nil {
		return d.Hex(), true
	}
	digits := strings.TrimPrefix(ref, sha256Prefix)
	if len(digits) < shortestID || !isLowerHex(digits) {
		return "", false
	}
	return digits, len(digits) == 64
}

// shortestID is the shortest beginning of an id that is looked up.
const shortestID = 8
