package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"podlet/hack/testimages/testimage"
)

// How a testRegistry wants its clients to say who they are.
type registryAuth int

const (
	nobody registryAuth = iota
	basic
	token
)

// What a testRegistry takes for a user.
const (
	registryUser     = "team"
	registryPassword = "MARKER-password"
	registryToken    = "MARKER-token"
)

// testRegistry is a registry on the loopback interface.
type testRegistry struct {
	*httptest.Server
	address string // host:port
	auth    registryAuth

	holding atomic.Pointer[holding] // nil: blobs are sent to their ends

	mu        sync.Mutex
	blobs     map[string][]byte // digest
	manifests map[string]string // "repository:tag" or digest -> digest
	requests  []string          // "path?query"
}

// holding is downloads that stop in their middle. reached gets the digest of each that is there, gone gets it once its client has gone.
type holding struct {
	whole         map[string]bool // digests of blobs that are sent to their ends all the same
	reached, gone digests
}

type digests chan string

// comes waits for the next one.
func (d digests) comes(t *testing.T) {
	t.Helper()
	select {
	case <-d:
	case <-time.After(hangTime):
		t.Fatalf("no digest within %v", hangTime)
	}
}

const manifestType = "application/vnd.oci.image.manifest.v1+json"

func newRegistry(t *testing.T, auth registryAuth) *testRegistry {
	t.Helper()
	r := &testRegistry{auth: auth, blobs: map[string][]byte{}, manifests: map[string]string{}}
	r.Server = httptest.NewServer(r)
	r.address = r.Listener.Addr().String()
	t.Cleanup(r.Close)
	return r
}

func (r *testRegistry) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	r.requests = append(r.requests, q.URL.RequestURI())
	r.mu.Unlock()
	if q.URL.Path == "/token" {
		r.serveToken(w, q)
		return
	}
	if !r.allowed(q) {
		if r.auth == basic {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		} else {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="test"`, r.URL))
		}
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	r.serve(w, q)
}

func (r *testRegistry) allowed(q *http.Request) bool {
	user, password, _ := q.BasicAuth()
	switch r.auth {
	case basic:
		return user == registryUser && password == registryPassword
	case token:
		return q.Header.Get("Authorization") == "Bearer "+registryToken
	}
	return q.Header.Get("Authorization") == ""
}

func (r *testRegistry) serveToken(w http.ResponseWriter, q *http.Request) {
	if user, password, _ := q.BasicAuth(); user != registryUser || password != registryPassword {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	json.NewEncoder(w).Encode(map[string]string{"token": registryToken})
}

func (r *testRegistry) serve(w http.ResponseWriter, q *http.Request) {
	path := strings.TrimPrefix(q.URL.Path, "/v2/")
	what := path[strings.LastIndexByte(path, '/')+1:]
	r.mu.Lock()
	digest := what
	if repository, ok := strings.CutSuffix(path, "/manifests/"+what); ok {
		if digest = r.manifests[what]; digest == "" {
			digest = r.manifests[repository+":"+what]
		}
		w.Header().Set("Content-Type", manifestType)
	}
	data, ok := r.blobs[digest]
	r.mu.Unlock()
	if !ok {
		http.NotFound(w, q)
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	if h := r.holding.Load(); h != nil && strings.Contains(path, "/blobs/") && !h.whole[digest] {
		w.Write(data[:len(data)/2])
		w.(http.Flusher).Flush()
		h.reached <- digest
		<-q.Context().Done()
		h.gone <- digest
		return
	}
	w.Write(data)
}

// hold makes every blob but those that are whole stop in its middle from now on.
func (r *testRegistry) hold(whole ...[]byte) *holding {
	h := &holding{whole: map[string]bool{}, reached: make(digests, 100), gone: make(digests, 100)}
	for _, blob := range whole {
		h.whole[testimage.Digest(blob)] = true
	}
	r.holding.Store(h)
	return h
}

func (r *testRegistry) letGo() { r.holding.Store(nil) }

// asked reports whether some request's path and query had the text.
func (r *testRegistry) asked(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Contains(strings.Join(r.requests, "\n"), text)
}

// push gives the registry an image under "repository:tag". id is the image's, digest its manifest's.
func (r *testRegistry) push(t *testing.T, name string, i testimage.Image) (id, digest string) {
	t.Helper()
	layout := filepath.Join(t.TempDir(), "layout")
	if err := i.WriteLayout(layout); err != nil {
		t.Fatal(err)
	}
	index, err := os.ReadFile(filepath.Join(layout, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Manifests []testimage.Descriptor }
	if err := json.Unmarshal(index, &list); err != nil {
		t.Fatal(err)
	}
	blobs, err := filepath.Glob(filepath.Join(layout, "blobs/sha256/*"))
	if err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, file := range blobs {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r.blobs[testimage.Digest(data)] = data
	}
	digest = list.Manifests[0].Digest
	r.manifests[name], r.manifests[digest] = digest, digest
	if id, err = i.ID(); err != nil {
		t.Fatal(err)
	}
	return id, digest
}
