package image

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestParseDigest(t *testing.T) {
	good := "sha256:" + strings.Repeat("0a", 32)
	for s, ok := range map[string]bool{
		good:                                    true,
		"sha512:" + strings.Repeat("0a", 64):    true,
		"":                                      false,
		"sha256:":                               false,
		"sha256:../../../../etc/passwd":         false,
		"sha256:" + strings.Repeat("0A", 32):    false,
		"sha256:" + strings.Repeat("0a", 31):    false,
		"sha256:" + strings.Repeat("0a", 33):    false,
		"sha512:" + strings.Repeat("0a", 32):    false,
		"sha256:" + strings.Repeat("%2", 32):    false,
		"sha256:" + strings.Repeat("/", 64):     false,
		"sha256:" + strings.Repeat("0g", 32):    false,
		"md5:d41d8cd98f00b204e9800998ecf8427e":  false,
		strings.Repeat("0a", 32):                false,
		" " + good:                              false,
		good + "\n":                             false,
		"SHA256:" + strings.Repeat("0a", 32):    false,
		"sha256:" + strings.Repeat("a", 10<<20): false,
	} {
		d, err := ParseDigest(s)
		if (err == nil) != ok {
			t.Errorf("%s: %v", quote(s), err)
		}
		if err != nil && (!d.IsZero() || !errors.Is(err, ErrInvalid) || len(err.Error()) > 1000) {
			t.Errorf("%s: %v, %d bytes of error", quote(s), d, len(err.Error()))
		}
		var viaJSON struct{ D Digest }
		text, _ := json.Marshal(map[string]string{"D": s})
		if jerr := json.Unmarshal(text, &viaJSON); (jerr == nil) != ok {
			t.Errorf("JSON %s: %v", quote(s), jerr)
		}
		if !ok {
			continue
		}
		back, err := digestFromHex(d.Hex())
		if err != nil || back != d || d.String() != s {
			t.Errorf("%s: back as %s, %v", s, back, err)
		}
		if !d.sum(d.newHash()).matches(nil) || d.matches(nil) {
			t.Errorf("%s: hash of nothing", s)
		}
	}
}

func FuzzDigest(f *testing.F) {
	f.Add("sha256:" + strings.Repeat("0a", 32))
	f.Add("sha256:../x")
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDigest(s)
		if err != nil {
			return
		}
		if strings.ContainsAny(d.Hex(), "/.%") || d.String() != s {
			t.Errorf("%q", s)
		}
	})
}
