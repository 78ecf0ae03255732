package registry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestVerify: what the verifiers of the node say of an image decides, before anything of it but its manifest is fetched.
func TestVerify(t *testing.T) {
	l := newLoopback(t, false)
	ref, manifest, id := l.push(t, "app:v1", newImage(t, "x"))
	seen, child := filepath.Join(t.TempDir(), "seen"), filepath.Join(t.TempDir(), "child")
	const yes = "#!/bin/sh\nexit 0\n"
	for _, c := range []struct {
		name      string
		verifiers map[string]string
		says      []string // nil: it is pulled
	}{
		{"none", nil, nil},
		{"one says yes", map[string]string{"a": "#!/bin/sh\n(echo \"$@\"; cat; pwd) > " + seen + "\n"}, nil},
		{"one says no", map[string]string{"a": yes, "b": "#!/bin/sh\necho no signature of ours; exit 3\n", "c": yes}, []string{"/b", "no signature of ours"}},
		{"no, without a word", map[string]string{"a": "#!/bin/sh\nexit 1\n"}, []string{"/a", "exit status 1"}},
		{"no, in many words", map[string]string{"a": "#!/bin/sh\nyes MARKER | head -c 1000000; exit 1\n"}, []string{"/a", "[hidden]"}},
		{"it never ends, nor what it started", map[string]string{"a": "#!/bin/sh\nsleep 1000 & echo $! > " + child + "; sleep 1000\n"}, []string{"/a", "no end"}},
		{"it dies", map[string]string{"a": "#!/bin/sh\nkill -9 $$\n"}, []string{"/a", "killed"}},
		{"no program", map[string]string{"a": "junk"}, []string{"/a"}},
		{"no such interpreter", map[string]string{"a": "#!/nowhere/sh\n"}, []string{"/a"}},
		{"it may not be run", map[string]string{"-": yes}, []string{"/-", "can be run"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range c.verifiers {
				mode := os.FileMode(0o755)
				if name == "-" {
					mode = 0o644
				}
				must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), mode))
			}
			r := newRig(t, func(c *Config) { c.Verifiers = dir })
			r.verifierTimeout = time.Minute
			if strings.Contains(c.name, "never") {
				r.verifierTimeout = 300 * time.Millisecond
			}
			before := l.requests("/blobs/")
			img, err := r.Pull(background, ref, Credentials{Password: "MARKER"})
			if c.says == nil {
				must(t, err)
				if img.ID.String() != id {
					t.Error(img.ID)
				}
				return
			}
			if !errors.Is(err, ErrSignature) || len(err.Error()) > 2000 || slices.ContainsFunc(c.says, func(s string) bool { return !strings.Contains(err.Error(), s) }) {
				t.Errorf("%v, want %v", err, c.says)
			}
			if l.requests("/blobs/") != before || len(r.Images.List()) != 0 {
				t.Error("the image was fetched")
			}
			again := func() {
				if _, err := r.Pull(background, ref, Credentials{}); !errors.Is(err, ErrSignature) {
					t.Errorf("again: %v", err)
				}
			}
			started := func() bool {
				number, _ := os.ReadFile(child)
				return len(number) > 0
			}
			for again(); strings.Contains(c.name, "never") && !started(); again() {
				r.verifierTimeout *= 2 // it was killed before it had started anything
			}
		})
	}
	ended(t, child)
	got, err := os.ReadFile(seen)
	must(t, err)
	want := fmt.Sprintf("-name %s -digest %s -stdin-media-type %s\n{\"mediaType\":%q,\"digest\":%q,\"size\":%d}/\n", ref, manifest.Digest, descriptorType, typeManifest, manifest.Digest, manifest.Size)
	if string(got) != want {
		t.Errorf("a verifier was told\n%s\nwant\n%s", got, want)
	}

	r := newRig(t, func(c *Config) { c.Verifiers = "/nowhere" })
	if _, err := r.Pull(background, ref, Credentials{}); !errors.Is(err, ErrSignature) || !strings.Contains(err.Error(), "/nowhere") {
		t.Error(err)
	}
	if _, err := r.Explain(ref, Credentials{}); !errors.Is(err, ErrSignature) {
		t.Error(err)
	}
}

// ended waits for the end of the process whose number is in the file.
func ended(t *testing.T, file string) {
	t.Helper()
	number, err := os.ReadFile(file)
	must(t, err)
	stat := "/proc/" + strings.TrimSpace(string(number)) + "/stat"
	for range 1000 {
		data, err := os.ReadFile(stat)
		if err != nil || strings.Contains(string(data), ") Z ") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %s, which a verifier started, is there still", number)
}

// TestVerifierCancelled: who gives up a pull doesn't wait for a verifier.
func TestVerifierCancelled(t *testing.T) {
	l := newLoopback(t, false)
	ref, _, _ := l.push(t, "app:v1", newImage(t, "x"))
	dir := t.TempDir()
	fifo := filepath.Join(t.TempDir(), "fifo")
	must(t, os.WriteFile(filepath.Join(dir, "a"), []byte("#!/bin/sh\nmkfifo "+fifo+"\nexec sleep 1000\n"), 0o755))
	r := newRig(t, func(c *Config) { c.Verifiers = dir })
	r.verifierTimeout = time.Hour
	ctx, cancel := context.WithCancel(background)
	done := r.pullAside(ctx, ref, Credentials{})
	for {
		if _, err := os.Stat(fifo); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	if o := <-done; !errors.Is(o.err, context.Canceled) {
		t.Error(o.err)
	}
	r.Close() // which waits for the verifier's end
}
