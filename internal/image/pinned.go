package image

import (
	"regexp"
	"slices"
	"strings"
)

// Pinned says which images a kubelet should not collect (CRI Image.pinned). A recommendation alone: who asks for an image's removal gets it.
type Pinned struct {
	names    []string // normalized
	patterns []*regexp.Regexp
}

// ParsePinned reads a list of images. One with a "*" in it stands for every image with a full name that fits, "*" for any text ("registry.k8s.io/kube-*",
// "docker.io/library/busybox:*"); one without is an image's name as elsewhere ("busybox", "host/repo:tag", "repo@sha256:…"). Errors are ErrInvalid.
func ParsePinned(list []string) (*Pinned, error) {
	p := &Pinned{}
	for _, entry := range list {
		if !strings.Contains(entry, "*") {
			full, err := NormalizeName(entry)
			if err != nil {
				return nil, err
			}
			p.names = append(p.names, full)
			continue
		}
		if len(entry) > maxReferenceBytes || hasControl(entry) {
			return nil, invalid("pattern %s: want at most %d bytes without control characters", quote(entry), maxReferenceBytes)
		}
		var parts []string
		for part := range strings.SplitSeq(entry, "*") {
			parts = append(parts, regexp.QuoteMeta(part))
		}
		p.patterns = append(p.patterns, regexp.MustCompile("^"+strings.Join(parts, ".*")+"$"))
	}
	return p, nil
}

// Has reports whether one of the image's names is in the list. nil has none.
func (p *Pinned) Has(i *Image) bool {
	if p == nil {
		return false
	}
	for _, name := range slices.Concat(i.Tags, i.Digests) {
		if slices.Contains(p.names, name) || slices.ContainsFunc(p.patterns, func(r *regexp.Regexp) bool { return r.MatchString(name) }) {
			return true
		}
	}
	return false
}

// SetPinned says which images are pinned from now on; see [Image.Pinned].
func (s *Store) SetPinned(p *Pinned) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.pinned = p
}
