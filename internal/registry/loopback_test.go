package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"podlet/hack/testimages/testimage"
)

// logs is what was logged.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// loopback is a registry on this machine. before sees each request first; if it answers, it returns true.
type loopback struct {
	*httptest.Server
	address string // host:port
	before  func(w http.ResponseWriter, r *http.Request) bool
	// noRanges: it always sends a blob from its first byte.
	noRanges bool

	mu    sync.Mutex
	blobs map[string][]byte // digest
	types map[string]string // digest of a document -> media type
	tags  map[string]string // "repository:tag" -> digest
	seen  []*http.Request
}

func newLoopback(t testing.TB, tls bool) *loopback {
	t.Helper()
	l := &loopback{blobs: map[string][]byte{}, types: map[string]string{}, tags: map[string]string{}}
	l.Server = httptest.NewUnstartedServer(l)
	l.Config.ErrorLog = nil
	if tls {
		l.StartTLS()
	} else {
		l.Start()
	}
	l.address = l.Listener.Addr().String()
	t.Cleanup(func() {
		l.CloseClientConnections()
		l.Close()
	})
	return l
}

func (l *loopback) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	l.seen = append(l.seen, r.Clone(r.Context()))
	before := l.before
	l.mu.Unlock()
	if before != nil && before(w, r) {
		return
	}
	l.serve(w, r)
}

// set changes before while requests may still be under way.
func (l *loopback) set(before func(w http.ResponseWriter, r *http.Request) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.before = before
}

func (l *loopback) serve(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rest := strings.TrimPrefix(r.URL.Path, "/v2/")
	for _, kind := range []string{"/manifests/", "/blobs/"} {
		i := strings.LastIndex(rest, kind)
		if i < 0 {
			continue
		}
		repository, what := rest[:i], rest[i+len(kind):]
		if d, ok := l.tags[repository+":"+what]; ok && kind == "/manifests/" {
			what = d
		}
		data, ok := l.blobs[what]
		if !ok {
			break
		}
		if kind == "/manifests/" {
			w.Header().Set("Content-Type", l.types[what])
			w.Header().Set("Docker-Content-Digest", what)
		}
		l.sendBlob(w, r, data)
		return
	}
	problem(w, 404, "MANIFEST_UNKNOWN", "no such thing here")
}

func (l *loopback) sendBlob(w http.ResponseWriter, r *http.Request, data []byte) {
	var from int
	if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil && !l.noRanges && from < len(data) {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(data)-1, len(data)))
		w.Header().Set("Content-Length", fmt.Sprint(len(data)-from))
		w.WriteHeader(206)
		w.Write(data[from:])
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	w.Write(data)
}

func (l *loopback) blob(digest string) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.blobs[digest]
}

func problem(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
}

// requests counts those whose path holds text.
func (l *loopback) requests(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.seen {
		if strings.Contains(r.URL.Path, text) {
			n++
		}
	}
	return n
}

// everything gives all that was ever sent to it: request lines and headers.
func (l *loopback) everything() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	for _, r := range l.seen {
		fmt.Fprintf(&b, "%s %s\n", r.Method, r.URL)
		r.Header.Write(&b)
	}
	return b.String()
}

func (l *loopback) put(mediaType string, data []byte) testimage.Descriptor {
	d := testimage.Digest(data)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blobs[d] = data
	if mediaType != "" {
		l.types[d] = mediaType
	}
	return testimage.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
}

func (l *loopback) tag(name string, d testimage.Descriptor) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tags[name] = d.Digest
}

// push puts an image under "repository:tag" and gives its reference there, its manifest and its id.
func (l *loopback) push(t testing.TB, name string, i testimage.Image) (ref string, manifest testimage.Descriptor, id string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layout")
	i.Names = []string{"podlet.test/" + name}
	must(t, i.WriteLayout(dir))
	blobs, err := os.ReadDir(filepath.Join(dir, "blobs/sha256"))
	must(t, err)
	for _, b := range blobs {
		data, err := os.ReadFile(filepath.Join(dir, "blobs/sha256", b.Name()))
		must(t, err)
		l.put("", data)
	}
	var index struct{ Manifests []testimage.Descriptor }
	data, err := os.ReadFile(filepath.Join(dir, "index.json"))
	must(t, err)
	must(t, json.Unmarshal(data, &index))
	manifest = index.Manifests[0]
	manifest.Annotations, manifest.Platform = nil, nil
	l.mu.Lock()
	l.types[manifest.Digest] = manifest.MediaType
	l.tags[name] = manifest.Digest
	l.mu.Unlock()
	id, err = i.ID()
	must(t, err)
	return l.address + "/" + name, manifest, id
}

const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
)

func (l *loopback) pushIndex(t testing.TB, name string, list ...testimage.Descriptor) testimage.Descriptor {
	t.Helper()
	data, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": typeIndex, "manifests": list})
	must(t, err)
	d := l.put(typeIndex, data)
	l.tag(name, d)
	return d
}

// newImage has three layers, one of each compression, each with a file whose content depends on the salt.
func newImage(t testing.TB, salt string) testimage.Image {
	t.Helper()
	var i testimage.Image
	for n, c := range []testimage.Compression{testimage.Gzip, testimage.Zstd, testimage.None} {
		layer, err := testimage.NewTree().Dir("d/", 0o755).File(fmt.Sprintf("d/f%d", n), 0o644, salt+strings.Repeat(" text", 1000)).Layer(c)
		must(t, err)
		i.Layers = append(i.Layers, layer)
	}
	i.Config.Cmd = []string{"/bin/true", salt}
	return i
}

// bigImage has one plain layer of about n bytes.
func bigImage(t testing.TB, salt string, n int) testimage.Image {
	t.Helper()
	layer, err := testimage.NewTree().File("big", 0o644, salt+strings.Repeat("0123456789abcdef", n/16)).Layer(testimage.None)
	must(t, err)
	return testimage.Image{Layers: []testimage.Layer{layer}}
}
