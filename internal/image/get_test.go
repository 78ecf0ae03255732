package image

import (
	"errors"
	"strings"
	"testing"
)

func TestGet(t *testing.T) {
	s := newStore(t)
	a := importImage(t, s, simple(t, "docker.io/library/app:latest", "a"))
	b := importImage(t, s, simple(t, "host.test/app:v1", "b"))
	for ref, want := range map[string]Digest{
		"app": a.ID, "docker.io/library/app": a.ID, "app:latest": a.ID, "host.test/app:v1": b.ID,
		a.ID.String(): a.ID, a.ID.Hex(): a.ID, a.ID.Hex()[:12]: a.ID, "sha256:" + b.ID.Hex()[:20]: b.ID, b.Digests[0]: b.ID,
		strings.Replace(b.Digests[0], "@", ":whatever@", 1): b.ID,
	} {
		got, err := s.Get(ref)
		if err != nil || got.ID != want {
			t.Errorf("%s: %v, %v", ref, got.ID, err)
		}
	}
	for _, ref := range []string{"app:v1", "host.test/app", "none", someDigest, strings.Repeat("ab", 32), a.ID.Hex()[:4], "host.test/app@" + someDigest} {
		if got, err := s.Get(ref); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v, %v", ref, got.ID, err)
		}
	}
	for _, ref := range []string{"", "UPPER", "../x", "/", "a b", strings.Repeat("a", 1<<20), "sha256:../x"} {
		if got, err := s.Get(ref); !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v, %v", quote(ref), got.ID, err)
		} else if len(err.Error()) > 1000 {
			t.Errorf("error of %d bytes", len(err.Error()))
		}
	}
}

// TestNameMoves: a name belongs to the image that was given it last.
func TestNameMoves(t *testing.T) {
	s := newStore(t)
	const name = "podlet.test/moves:1"
	a := importImage(t, s, simple(t, name, "a"))
	b := importImage(t, s, simple(t, name, "b"))
	check := func() {
		t.Helper()
		if got, err := s.Get(name); err != nil || got.ID != b.ID {
			t.Errorf("%v, %v", got.ID, err)
		}
		if got, err := s.Get(a.ID.String()); err != nil || len(got.Tags) != 0 {
			t.Errorf("%v, %v", got.Tags, err)
		}
	}
	check()
	s = reopen(t, s, "boot-1")
	check()
	// As if the process had been killed between the two records.
	s.mu.Lock()
	stale := *s.mu.images[a.ID]
	s.mu.Unlock()
	stale.Tags = []string{name}
	must(t, s.saveRecord(&stale))
	s = reopen(t, s, "boot-1")
	check()
	// The name goes with the image that had it last.
	must(t, s.Remove(b.ID.String()))
	s = reopen(t, s, "boot-1")
	if got, err := s.Get(name); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v, %v", got.ID, err)
	}
}
