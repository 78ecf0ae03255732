package registry

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"podlet/hack/testimages/testimage"
	"podlet/internal/image"
)

var background = context.Background()

func TestPullByTagAndDigest(t *testing.T) {
	l, r := newLoopback(t, false), newRig(t)
	ref, manifest, id := l.push(t, "team/app:v1", newImage(t, "one"))
	img, err := r.Pull(background, ref, Credentials{})
	must(t, err)
	digested := l.address + "/team/app@" + manifest.Digest
	if img.ID.String() != id || len(img.Tags) != 1 || img.Tags[0] != ref || len(img.Digests) != 1 || img.Digests[0] != digested {
		t.Errorf("got %v %v %v, want %v %v %v", img.ID, img.Tags, img.Digests, id, ref, digested)
	}
	for n, dir := range img.LayerDirs() {
		name := filepath.Join(dir, "d/f"+string(rune('2'-n)))
		if data, err := os.ReadFile(name); err != nil || !strings.HasPrefix(string(data), "one text") {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	if n := l.requests("/blobs/"); n != 4 {
		t.Errorf("%d blobs fetched, want 4", n)
	}

	again, err := r.Pull(background, digested, Credentials{})
	must(t, err)
	if again.ID != img.ID || len(again.Tags) != 1 {
		t.Errorf("by digest: %v %v", again.ID, again.Tags)
	}
	if n := l.requests("/blobs/"); n != 4 {
		t.Errorf("%d blobs fetched after a second pull, want 4 as before", n)
	}

	// The tag moves.
	_, _, other := l.push(t, "team/app:v1", newImage(t, "two"))
	moved, err := r.Pull(background, ref, Credentials{})
	must(t, err)
	if moved.ID.String() != other {
		t.Errorf("after the tag moved: %v, want %v", moved.ID, other)
	}
	if old, err := r.Images.Get(id); err != nil || len(old.Tags) != 0 {
		t.Errorf("the old image: %v, %v", old.Tags, err)
	}
}

// TestPullByTagAndDigestAtOnce: of a name with both the digest counts, the tag isn't even asked for, and the image gets none.
func TestPullByTagAndDigestAtOnce(t *testing.T) {
	l, r := newLoopback(t, false), newRig(t)
	_, manifest, id := l.push(t, "app:v1", newImage(t, "x"))
	l.push(t, "app:v1", newImage(t, "y"))
	ref := l.address + "/app:v1@" + manifest.Digest
	img, err := r.Pull(background, ref, Credentials{})
	must(t, err)
	if img.ID.String() != id || len(img.Tags) != 0 || len(img.Digests) != 1 || img.Digests[0] != l.address+"/app@"+manifest.Digest {
		t.Errorf("got %v, tags %v, digests %v", img.ID, img.Tags, img.Digests)
	}
	if found, err := r.Images.Get(ref); err != nil || found.ID != img.ID {
		t.Errorf("found %v, %v", found.ID, err)
	}
	if l.requests("/manifests/v1") != 0 {
		t.Error("the tag was asked for")
	}
}

func TestPullByDigestOnly(t *testing.T) {
	l, r := newLoopback(t, false), newRig(t)
	_, manifest, id := l.push(t, "app:v1", newImage(t, "x"))
	img, err := r.Pull(background, l.address+"/app@"+manifest.Digest, Credentials{})
	must(t, err)
	if img.ID.String() != id || len(img.Tags) != 0 || len(img.Digests) != 1 {
		t.Errorf("got %v, tags %v, digests %v", img.ID, img.Tags, img.Digests)
	}
	// It is there again when the store is opened anew, and found by what it was pulled by.
	if found, err := r.Images.Get(l.address + "/app@" + manifest.Digest); err != nil || found.ID != img.ID {
		t.Errorf("found %v, %v", found.ID, err)
	}
}

func TestIndexAndPlatform(t *testing.T) {
	l, r := newLoopback(t, false), newRig(t)
	_, other, _ := l.push(t, "app:other", newImage(t, "other"))
	_, own, id := l.push(t, "app:own", newImage(t, "own"))
	other.Platform = map[string]string{"os": "linux", "architecture": "s390x"}
	unknown := other
	unknown.Platform = map[string]string{"os": "unknown", "architecture": "unknown"}
	own.Platform = map[string]string{"os": "linux", "architecture": runtime.GOARCH}
	index := l.pushIndex(t, "app:v1", unknown, other, own)
	img, err := r.Pull(background, l.address+"/app:v1", Credentials{})
	must(t, err)
	if img.ID.String() != id {
		t.Errorf("got %v, want %v", img.ID, id)
	}
	if want := l.address + "/app@" + index.Digest; len(img.Digests) != 1 || img.Digests[0] != want {
		t.Errorf("digests %v, want the index's %v", img.Digests, want)
	}

	l.pushIndex(t, "app:foreign", other)
	_, err = r.Pull(background, l.address+"/app:foreign", Credentials{})
	if !errors.Is(err, image.ErrInvalid) || !strings.Contains(err.Error(), "s390x") {
		t.Errorf("an index without this platform: %v", err)
	}
	// No index names the platform: the config has the last word.
	alien := newImage(t, "alien")
	alien.Architecture = "s390x"
	ref, _, _ := l.push(t, "app:alien", alien)
	if _, err = r.Pull(background, ref, Credentials{}); !errors.Is(err, image.ErrInvalid) {
		t.Errorf("an image for another machine: %v", err)
	}
}

func TestNotFound(t *testing.T) {
	l, r := newLoopback(t, false), newRig(t)
	_, err := r.Pull(background, l.address+"/app:none", Credentials{})
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "404 Not Found: MANIFEST_UNKNOWN: no such thing here") {
		t.Error(err)
	}
	i := newImage(t, "x")
	ref, _, _ := l.push(t, "app:v1", i)
	layer, err := i.Layers[1].Blob()
	must(t, err)
	delete(l.blobs, testimage.Digest(layer))
	if _, err := r.Pull(background, ref, Credentials{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a layer is missing: %v", err)
	}
	if len(r.Images.List()) != 0 {
		t.Error("there is an image")
	}
}

func TestBadNames(t *testing.T) {
	r := newRig(t)
	for _, ref := range []string{"", "A", "http://h/app", "h/app@sha256:12", "[0]:0/app", "h/app@md5:d41d8cd98f00b204e9800998ecf8427e"} {
		if _, err := r.Pull(background, ref, Credentials{}); !errors.Is(err, image.ErrInvalid) {
			t.Errorf("%q: %v", ref, err)
		}
	}
}
