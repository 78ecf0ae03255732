package cri

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/hack/testimages/testimage"
	"podlet/internal/image"
	"podlet/internal/registry"
)

// layoutRegistry serves the one image of an OCI layout as "app:v1". answer, if set, answers instead.
type layoutRegistry struct {
	dir, manifest, mediaType string
	answer                   atomic.Pointer[http.HandlerFunc]
}

func (l *layoutRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if answer := l.answer.Load(); *answer != nil {
		(*answer)(w, r)
		return
	}
	what := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	if what == "v1" {
		what = l.manifest
	}
	data, err := os.ReadFile(filepath.Join(l.dir, "blobs", strings.Replace(what, ":", "/", 1)))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	if what == l.manifest {
		w.Header().Set("Content-Type", l.mediaType)
	}
	w.Write(data)
}

func TestPullImage(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("unpacking layers needs root")
	}
	dir := t.TempDir()
	layer, err := testimage.NewTree().File("f", 0o644, "text").Layer(testimage.Gzip)
	if err != nil {
		t.Fatal(err)
	}
	made := testimage.Image{Names: []string{"podlet.test/app:v1"}, Layers: []testimage.Layer{layer}}
	l := &layoutRegistry{dir: filepath.Join(dir, "layout")}
	if err := made.WriteLayout(l.dir); err != nil {
		t.Fatal(err)
	}
	var index struct{ Manifests []testimage.Descriptor }
	data, err := os.ReadFile(filepath.Join(l.dir, "index.json"))
	if err == nil {
		err = json.Unmarshal(data, &index)
	}
	if err != nil {
		t.Fatal(err)
	}
	l.manifest, l.mediaType = index.Manifests[0].Digest, index.Manifests[0].MediaType
	l.answer.Store(new(http.HandlerFunc))
	web := httptest.NewServer(l)
	defer web.Close()

	store, err := image.Open(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	puller := registry.New(registry.Config{Images: store, CertsDirs: []string{filepath.Join(dir, "certs.d")}, Log: slog.New(slog.DiscardHandler)})
	defer puller.Close()
	s := &Server{Images: store, Puller: puller, Log: slog.New(slog.DiscardHandler)}
	ref := strings.TrimPrefix(web.URL, "http://") + "/app:v1"
	pull := func(ref string, auth *cri.AuthConfig) (*cri.PullImageResponse, error) {
		return s.PullImage(context.Background(), &cri.PullImageRequest{Image: &cri.ImageSpec{Image: ref}, Auth: auth})
	}

	answer, err := pull(ref, nil)
	id, _ := made.ID()
	if err != nil || answer.GetImageRef() != id {
		t.Fatalf("got %v, %v; want %v", answer, err, id)
	}
	told, err := s.ImageStatus(context.Background(), &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: ref}})
	if err != nil || told.GetImage().GetId() != id {
		t.Errorf("ImageStatus: %v, %v", told, err)
	}

	replies := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	const secret = "MARKER-password"
	for _, c := range []struct {
		name, ref string
		answer    http.HandlerFunc
		code      codes.Code
		says      string
	}{
		{"no name", "", nil, codes.InvalidArgument, ""},
		{"bad name", "NO", nil, codes.InvalidArgument, ""},
		{"404", ref, replies(404), codes.NotFound, ""},
		{"401", ref, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(401)
		}, codes.Unauthenticated, ""},
		{"403", ref, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(403)
			fmt.Fprintf(w, `{"errors":[{"code":"DENIED","message":%q}]}`, secret)
		}, codes.PermissionDenied, ""},
		// The kubelet's imageManager looks for this beginning, where the code is Unknown.
		{"dead", "127.0.0.1:1/app", nil, codes.Unknown, "RegistryUnavailable: "},
		{"nonsense", ref, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "nonsense") }, codes.InvalidArgument, ""},
		{"stall", ref, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, codes.DeadlineExceeded, ""},
	} {
		l.answer.Store(&c.answer)
		if c.name == "stall" {
			// For this one alone: the others this machine may hold up for as long.
			puller.Window = 400 * time.Millisecond
		}
		_, err = pull(c.ref, &cri.AuthConfig{Username: "u", Password: secret})
		err = statusOf(err)
		if status.Code(err) != c.code || !strings.HasPrefix(status.Convert(err).Message(), c.says) {
			t.Errorf("%s: %v, want %v %s", c.name, err, c.code, c.says)
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: a secret shows: %v", c.name, err)
		}
	}
	verifiers := filepath.Join(dir, "verifiers")
	if err := os.Mkdir(verifiers, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(verifiers, "no"), []byte("#!/bin/sh\necho not signed by us; exit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	l.answer.Store(new(http.HandlerFunc))
	s.Puller = registry.New(registry.Config{Images: store, CertsDirs: puller.CertsDirs, Verifiers: verifiers, Log: s.Log})
	defer s.Puller.Close()
	_, err = pull(ref, nil)
	if text := status.Convert(err).Message(); status.Code(err) != codes.Unknown || !strings.HasPrefix(text, "SignatureValidationFailed: ") || !strings.Contains(text, "not signed by us") {
		t.Errorf("a verifier says no: %v", err)
	}
	if err := pullStatus(fmt.Errorf("pull: %w", image.ErrPanic)); status.Code(err) != codes.Internal {
		t.Errorf("a panic: %v", err)
	}
	if _, err := (&Server{}).PullImage(context.Background(), &cri.PullImageRequest{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("without a puller: %v", err)
	}
}
