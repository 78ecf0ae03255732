package image

import (
	"errors"
	"strings"
	"testing"
)

func TestNormalizeName(t *testing.T) {
	d := "sha256:" + strings.Repeat("ab", 32)
	for name, want := range map[string]string{
		"busybox":                 "docker.io/library/busybox:latest",
		"busybox:1.36":            "docker.io/library/busybox:1.36",
		"user/app":                "docker.io/user/app:latest",
		"docker.io/busybox":       "docker.io/library/busybox:latest",
		"index.docker.io/busybox": "docker.io/library/busybox:latest",
		"localhost/app":           "localhost/app:latest",
		"localhost:5000/app":      "localhost:5000/app:latest",
		"registry.k8s.io/pause:3": "registry.k8s.io/pause:3",
		"[::1]:5000/app:v1":       "[::1]:5000/app:v1",
		"busybox@" + d:            "docker.io/library/busybox@" + d,
		"busybox:1.36@" + d:       "docker.io/library/busybox@" + d, // the digest says it all
		"busybox@sha512:" + strings.Repeat("ab", 64): "docker.io/library/busybox@sha512:" + strings.Repeat("ab", 64),
		"":                     "",
		"Busybox":              "",
		"busybox:":             "",
		"a b":                  "",
		"busybox:../x":         "",
		"../busybox":           "",
		"https://host/app":     "",
		"busybox@sha256:short": "",
		"busybox@sha384:" + strings.Repeat("ab", 48): "",
		strings.Repeat("ab", 32):                     "", // 64 hex digits are an id, never a name
		strings.Repeat("a/", 3000):                   "",
	} {
		got, err := NormalizeName(name)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v; want %q", quote(name), got, err, want)
		}
		if err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", quote(name), err)
		}
	}
	for name, want := range map[string]string{
		"Busy\n\xffbox": `image name "Busy\n\xffbox": invalid reference format: repository name must be lowercase`,
		"a b":           `image name "a b": invalid reference format`,
		"A) (B)":        `image name "A) (B)": invalid reference format: repository name must be lowercase`,
	} {
		if _, err := NormalizeName(name); err == nil || err.Error() != want {
			t.Errorf("%s: %v", quote(name), err)
		}
	}
}
