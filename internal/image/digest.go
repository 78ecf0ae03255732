package image

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"strings"
)

// Digest is a content digest of the OCI image specification: "sha256:" or "sha512:" and lower-case hex digits of the right number. The zero
// value is no digest; no other value is malformed. Comparable.
type Digest struct{ s string }

const (
	sha256Prefix = "sha256:"
	sha512Prefix = "sha512:"
)

// ParseDigest is the only way from text to a Digest.
func ParseDigest(s string) (Digest, error) {
	var digits string
	var size int
	switch {
	case strings.HasPrefix(s, sha256Prefix):
		digits, size = s[len(sha256Prefix):], sha256.Size
	case strings.HasPrefix(s, sha512Prefix):
		digits, size = s[len(sha512Prefix):], sha512.Size
	default:
		return Digest{}, invalid("digest %s: want sha256:… or sha512:…", quote(s))
	}
	if len(digits) != 2*size || !isLowerHex(digits) {
		return Digest{}, invalid("digest %s: want %d lower-case hex digits", quote(s), 2*size)
	}
	return Digest{s}, nil
}

// digestOf hashes b with SHA-256.
func digestOf(b []byte) Digest {
	sum := sha256.Sum256(b)
	return Digest{sha256Prefix + hex.EncodeToString(sum[:])}
}

func isLowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func (d Digest) String() string { return d.s }

// IsZero reports whether d holds no digest.
func (d Digest) IsZero() bool { return d.s == "" }

// Hex gives the digits alone. Their number tells the algorithm: 64 or 128.
func (d Digest) Hex() string { return d.s[strings.IndexByte(d.s, ':')+1:] }

// digestFromHex is the inverse of Hex.
func digestFromHex(s string) (Digest, error) {
	if len(s) == 2*sha512.Size {
		return ParseDigest(sha512Prefix + s)
	}
	return ParseDigest(sha256Prefix + s)
}

// MarshalText implements encoding.TextMarshaler.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.s), nil }

// UnmarshalText implements encoding.TextUnmarshaler, so that JSON can't hold a malformed digest.
func (d *Digest) UnmarshalText(text []byte) error {
	parsed, err := ParseDigest(string(text))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}

// newHash gives the hash function of d's algorithm.
func (d Digest) newHash() hash.Hash {
	if strings.HasPrefix(d.s, sha512Prefix) {
		return sha512.New()
	}
	return sha256.New()
}

// sum gives what h has seen as a digest of d's algorithm, which is SHA-256 for the zero digest.
func (d Digest) sum(h hash.Hash) Digest {
	if d.IsZero() {
		return Digest{sha256Prefix + hex.EncodeToString(h.Sum(nil))}
	}
	return Digest{d.s[:strings.IndexByte(d.s, ':')+1] + hex.EncodeToString(h.Sum(nil))}
}

// matches reports whether b hashes to d.
func (d Digest) matches(b []byte) bool {
	h := d.newHash()
	h.Write(b)
	return d.sum(h) == d
}
