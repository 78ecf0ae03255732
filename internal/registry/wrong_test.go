package registry

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"podlet/hack/testimages/testimage"
	"podlet/internal/image"
)

// falsify makes the registry send something else for the blob with the digest, of the same length.
func falsify(l *loopback, digest string, how func(data []byte) []byte) {
	l.set(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, digest) {
			return false
		}
		l.mu.Lock()
		data := how(bytes.Clone(l.blobs[digest]))
		l.mu.Unlock()
		l.sendBlob(w, r, data)
		return true
	})
}

// TestFalsifyingMirror: what a mirror sends in the place of a layer or of the config is noticed, and the next host has it. The mirror is asked once.
func TestFalsifyingMirror(t *testing.T) {
	i := newImage(t, "x")
	config, err := i.ConfigJSON()
	must(t, err)
	digests := map[string]string{"config": testimage.Digest(config)}
	for n, name := range []string{"gzip", "zstd", "plain"} {
		blob, err := i.Layers[n].Blob()
		must(t, err)
		digests[name] = testimage.Digest(blob)
	}
	flip := func(at func(n int) int) func([]byte) []byte {
		return func(data []byte) []byte { data[at(len(data))] ^= 1; return data }
	}
	for what, digest := range digests {
		for how, change := range map[string]func([]byte) []byte{
			"first byte":  flip(func(int) int { return 0 }),
			"middle":      flip(func(n int) int { return n / 2 }),
			"last byte":   flip(func(n int) int { return n - 1 }),
			"shorter":     func(data []byte) []byte { return data[:len(data)/2] },
			"longer":      func(data []byte) []byte { return append(data, "more"...) },
			"another tar": func([]byte) []byte { return bytes.Repeat([]byte{0}, 1024) },
		} {
			t.Run(what+", "+how, func(t *testing.T) {
				mirror, origin, r := newLoopback(t, false), newLoopback(t, false), newRig(t)
				mirror.push(t, "app:v1", i)
				ref, _, id := origin.push(t, "app:v1", i)
				r.hosts(t, origin.address, fmt.Sprintf("[host.%q]\n", mirror.URL))
				falsify(mirror, digest, change)
				img, err := r.Pull(background, ref, Credentials{})
				must(t, err)
				if img.ID.String() != id {
					t.Errorf("got %v, want %v", img.ID, id)
				}
				for n, dir := range img.LayerDirs() {
					name := filepath.Join(dir, fmt.Sprintf("d/f%d", 2-n))
					if data, err := os.ReadFile(name); err != nil || !strings.HasPrefix(string(data), "x text") {
						t.Errorf("%s: %.20q, %v", name, data, err)
					}
				}
				if m, o := mirror.requests("/blobs/"), origin.requests("/blobs/"); m != 4 || o != 1 {
					t.Errorf("%d requests for blobs at the mirror and %d at the registry, want 4 and 1", m, o)
				}
			})
		}
	}
}

// TestFalsifiersAll: where nobody has the right bytes the pull fails, each host was asked once, and which it was is in the log.
func TestFalsifiersAll(t *testing.T) {
	i := newImage(t, "x")
	layer, err := i.Layers[0].Blob()
	must(t, err)
	digest := testimage.Digest(layer)
	origin, r := newLoopback(t, false), newRig(t)
	ref, _, _ := origin.push(t, "app:v1", i)
	all := []*loopback{origin}
	var hosts string
	for range 2 {
		mirror := newLoopback(t, false)
		mirror.push(t, "app:v1", i)
		hosts += fmt.Sprintf("[host.%q]\n", mirror.URL)
		all = append(all, mirror)
	}
	r.hosts(t, origin.address, hosts)
	for _, l := range all {
		falsify(l, digest, func(data []byte) []byte { data[len(data)-1] ^= 1; return data })
	}
	if _, err := r.Pull(background, ref, Credentials{}); !errors.Is(err, image.ErrInvalid) {
		t.Error(err)
	}
	for _, l := range all {
		if n := l.requests(digest); n != 1 || !strings.Contains(r.logs.String(), l.URL) {
			t.Errorf("%s: %d requests, want 1, and a line in the log:\n%s", l.URL, n, r.logs)
		}
	}
}

// TestFalsifierThenAway: the error tells both what the mirror did and why the registry itself couldn't help.
func TestFalsifierThenAway(t *testing.T) {
	i := newImage(t, "x")
	layer, err := i.Layers[0].Blob()
	must(t, err)
	digest := testimage.Digest(layer)
	mirror, origin, r := newLoopback(t, false), newLoopback(t, false), newRig(t)
	mirror.push(t, "app:v1", i)
	ref, _, _ := origin.push(t, "app:v1", i)
	r.hosts(t, origin.address, fmt.Sprintf("[host.%q]\n", mirror.URL))
	falsify(mirror, digest, func(data []byte) []byte { data[0] ^= 1; return data })
	origin.set(func(w http.ResponseWriter, r *http.Request) bool { http.NotFound(w, r); return true })
	_, err = r.Pull(background, ref, Credentials{})
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), mirror.URL+": what it sent is malformed or has another digest") {
		t.Error(err)
	}
}
