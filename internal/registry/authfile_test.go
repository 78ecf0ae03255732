package registry

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"podlet/internal/image"
)

func TestReadAuthFile(t *testing.T) {
	const auth = "cm9ib3Q6TUFSS0VSLXBhc3N3b3Jk" // robot:MARKER-password
	for _, c := range []struct {
		name, text, ref, entry string
		want                   Credentials
	}{
		{"auth", `{"auths": {"h.test": {"auth": "` + auth + `"}}}`, "h.test/app", "h.test", Credentials{Auth: auth, ServerAddress: "h.test"}},
		{"Docker Hub", `{"auths": {"https://index.docker.io/v1/": {"username": "u", "password": "p"}}}`, "busybox", "https://index.docker.io/v1/", Credentials{Username: "u", Password: "p", ServerAddress: "docker.io"}},
		{"identity token", `{"auths": {"https://h.test:5000": {"identitytoken": "i"}}}`, "h.test:5000/app", "https://h.test:5000", Credentials{IdentityToken: "i", ServerAddress: "h.test:5000"}},
		{"registry token", `{"auths": {"h.test": {"registrytoken": "r"}}, "HttpHeaders": {}}`, "h.test/app", "h.test", Credentials{RegistryToken: "r", ServerAddress: "h.test"}},
		{"another port", `{"auths": {"h.test:5000": {"registrytoken": "r"}}}`, "h.test/app", "", Credentials{}},
		{"the longest path", `{"auths": {"h.test": {"username": "a"}, "h.test/team": {"username": "b"}, "h.test/te": {"username": "c"}}}`, "h.test/team/app", "h.test/team", Credentials{Username: "b", ServerAddress: "h.test"}},
		{"another path", `{"auths": {"h.test/team": {"username": "b"}}}`, "h.test/other", "", Credentials{}},
		{"none", `{}`, "h.test/app", "", Credentials{}},
		{"a helper for another", `{"credHelpers": {"other.test": "gcr"}}`, "h.test/app", "", Credentials{}},
		{"an entry besides a helper", `{"credsStore": "x", "auths": {"h.test": {"username": "a"}}}`, "h.test/app", "h.test", Credentials{Username: "a", ServerAddress: "h.test"}},
	} {
		file := filepath.Join(t.TempDir(), "config.json")
		must(t, os.WriteFile(file, []byte(c.text), 0o600))
		got, entry, err := ReadAuthFile(file, c.ref)
		if err != nil || got != c.want || entry != c.entry {
			t.Errorf("%s: %+v, %q, %v; want %+v, %q", c.name, got, entry, err, c.want, c.entry)
		}
	}
	for _, c := range []struct{ text, ref, says string }{
		{`{"auths": {"h.test": {"auth": MARKER}}}`, "h.test/app", "docker login"},
		{`{"auths": {"h.test": {"auth": 123456}}}`, "h.test/app", "docker login"},
		{`{"auths": {"h.test": {}}, "credsStore": "osxkeychain"}`, "h.test/app", "docker-credential-osxkeychain"},
		{`{"credHelpers": {"h.test": "gcr"}}`, "h.test/app", "docker-credential-gcr"},
		{strings.Repeat(" ", maxHostsBytes+1), "h.test/app", "larger"},
		{`{}`, "NO", ""},
	} {
		file := filepath.Join(t.TempDir(), "config.json")
		must(t, os.WriteFile(file, []byte(c.text), 0o600))
		_, _, err := ReadAuthFile(file, c.ref)
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), "MARKER") || strings.Contains(err.Error(), "123456") {
			t.Errorf("%.80s: %v", c.text, err)
		}
	}
	if _, _, err := ReadAuthFile("/nowhere/config.json", "h.test/app"); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "/nowhere/config.json") {
		t.Error(err)
	}
	if _, err := (Credentials{}).OnlyFor("NO"); !errors.Is(err, image.ErrInvalid) {
		t.Error(err)
	}
}
