package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"podlet/hack/testimages/testimage"
	"podlet/internal/image"
)

// isBlob reports whether the request is for a blob.
func isBlob(r *http.Request) bool { return strings.Contains(r.URL.Path, "/blobs/") }

// breakAfter sends a blob's header and n bytes, then resets the connection (what is on its way is lost too) or just ends it.
func breakAfter(l *loopback, n int, reset bool) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !isBlob(r) {
			return false
		}
		w = &cutWriter{w, n, reset}
		l.serve(w, r)
		return true
	}
}

type cutWriter struct {
	http.ResponseWriter
	n     int
	reset bool
}

func (c *cutWriter) Write(p []byte) (int, error) {
	if len(p) > c.n {
		c.ResponseWriter.Write(p[:c.n])
		c.ResponseWriter.(http.Flusher).Flush()
		conn, _, err := c.ResponseWriter.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		if c.reset {
			conn.(*net.TCPConn).SetLinger(0)
		}
		conn.Close()
		return len(p), nil
	}
	return c.ResponseWriter.Write(p)
}

func TestResume(t *testing.T) {
	for _, noRanges := range []bool{false, true} {
		l, r := newLoopback(t, false), newRig(t)
		l.noRanges = noRanges
		ref, _, id := l.push(t, "app:v1", bigImage(t, "x", 6<<20))
		var cut atomic.Int64
		l.before = func(w http.ResponseWriter, r *http.Request) bool {
			n := 2 << 20
			if noRanges {
				n *= int(cut.Add(1))
			}
			return breakAfter(l, n, false)(w, r)
		}
		img, err := r.Pull(background, ref, Credentials{})
		must(t, err)
		if img.ID.String() != id {
			t.Error(img.ID)
		}
		if n := l.requests("/blobs/"); n < 3 {
			t.Errorf("%d requests: was the connection ever reset?", n)
		}
	}
}

// TestResetAtEachByte: a connection that always breaks at once ends the pull, wherever that is, and leaves nothing.
func TestResetAtEachByte(t *testing.T) {
	l, r := newLoopback(t, false), newRig(t)
	l.noRanges = true // so that no byte more is ever had
	ref, _, id := l.push(t, "app:v1", newImage(t, "x"))
	for n := range 40 {
		l.set(breakAfter(l, n*n, true))
		_, err := r.Pull(background, ref, Credentials{})
		if n < 8 && !errors.Is(err, ErrUnavailable) {
			t.Errorf("reset at byte %d: %v", n*n, err)
		}
	}
	l.set(nil)
	img, err := r.Pull(background, ref, Credentials{})
	must(t, err)
	if img.ID.String() != id {
		t.Error(img.ID)
	}
}

func TestTooManyRequestsAndServerErrors(t *testing.T) {
	l, r := newLoopback(t, false), newRig(t)
	ref, _, _ := l.push(t, "app:v1", newImage(t, "x"))
	var n atomic.Int64
	l.before = func(w http.ResponseWriter, r *http.Request) bool {
		switch n.Add(1) {
		case 1:
			w.Header().Set("Retry-After", "1")
			problem(w, 429, "TOOMANYREQUESTS", "slow down")
		case 2:
			problem(w, 503, "UNAVAILABLE", "in a moment")
		case 3:
			panic(http.ErrAbortHandler)
		default:
			return false
		}
		return true
	}
	_, err := r.Pull(background, ref, Credentials{})
	must(t, err)
	// After the third, net/http asks again by itself, on a fresh connection; unless that was one already, where it thought the one before to be still in use.
	if got := fmt.Sprint(r.slept.take()); got != "[1s 500ms]" && got != "[1s 500ms 1s]" {
		t.Errorf("waited %s", got)
	}

	n.Store(0)
	l.before = func(w http.ResponseWriter, r *http.Request) bool {
		n.Add(1)
		problem(w, 502, "UNKNOWN", "for ever")
		return true
	}
	if _, err := r.Pull(background, ref, Credentials{}); !errors.Is(err, ErrUnavailable) || n.Load() != maxRepeats+1 {
		t.Errorf("%v after %d requests", err, n.Load())
	}
	if got := fmt.Sprint(r.slept.take()); got != "[250ms 500ms 1s 2s]" {
		t.Errorf("waited %s", got)
	}
	// Who wants to be left alone for an hour isn't waited for.
	n.Store(0)
	l.before = func(w http.ResponseWriter, r *http.Request) bool {
		n.Add(1)
		w.Header().Set("Retry-After", "3600")
		problem(w, 429, "TOOMANYREQUESTS", "pull rate limit")
		return true
	}
	if _, err := r.Pull(background, ref, Credentials{}); !errors.Is(err, ErrUnavailable) || n.Load() != 1 || !strings.Contains(err.Error(), "pull rate limit") {
		t.Errorf("%v after %d requests", err, n.Load())
	}
	// Nor is anybody waited for while another host can be asked.
	mirror := newLoopback(t, false)
	mirror.set(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Retry-After", "5")
		problem(w, 429, "TOOMANYREQUESTS", "slow down")
		return true
	})
	l.set(nil)
	r.hosts(t, l.address, fmt.Sprintf("[host.%q]\n", mirror.URL))
	other, _, _ := l.push(t, "app:v2", newImage(t, "other"))
	_, err = r.Pull(background, other, Credentials{})
	must(t, err)
	if slept := r.slept.take(); len(slept) != 0 || mirror.requests("") == 0 {
		t.Errorf("waited %v, %d requests at the mirror", slept, mirror.requests(""))
	}
}

func TestRetryAfter(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, "7": 7 * time.Second, "-1": 0, "soon": 0, "99999999999": 0, "Wed, 21 Oct 2015 07:28:00 GMT": 0} {
		if got := retryAfter(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	if got := retryAfter(time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)); got < 59*time.Minute || got > time.Hour {
		t.Error(got)
	}
}

// TestStall: a registry that sends nothing more, or too little, ends the pull; also before the first byte, and in a manifest.
func TestStall(t *testing.T) {
	trickle := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			w.Write([]byte{0})
			w.(http.Flusher).Flush()
			time.Sleep(20 * time.Millisecond)
		}
	}
	wait := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for name, before := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"no answer":         func(w http.ResponseWriter, r *http.Request) bool { wait(w, r); return true },
		"manifest trickles": func(w http.ResponseWriter, r *http.Request) bool { trickle(w, r); return true },
		"blob stalls": func(w http.ResponseWriter, r *http.Request) bool {
			if isBlob(r) {
				w.WriteHeader(200)
				w.(http.Flusher).Flush()
				wait(w, r)
			}
			return isBlob(r)
		},
		"blob trickles": func(w http.ResponseWriter, r *http.Request) bool {
			if isBlob(r) {
				trickle(w, r)
			}
			return isBlob(r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, r := newLoopback(t, false), newRig(t, func(c *Config) { c.Window, c.MinRate = 200*time.Millisecond, 4<<10 })
			ref, _, _ := l.push(t, "app:v1", newImage(t, "x"))
			l.set(before)
			if _, err := r.Pull(background, ref, Credentials{}); !errors.Is(err, ErrStalled) {
				t.Error(err)
			}
			l.set(nil)
			r.Window = time.Hour // this machine may stand still for as long as the other one
			_, err := r.Pull(background, ref, Credentials{})
			must(t, err)
		})
	}
}

// hold lets blobs wait until released, and tells of the first.
type hold struct {
	came, release chan struct{}
	once          sync.Once
}

func holdBlobs(l *loopback) *hold {
	h := &hold{came: make(chan struct{}), release: make(chan struct{})}
	l.before = func(_ http.ResponseWriter, r *http.Request) bool {
		if !isBlob(r) {
			return false
		}
		h.once.Do(func() { close(h.came) })
		select {
		case <-h.release:
		case <-r.Context().Done():
		}
		return false
	}
	return h
}

type outcome struct {
	img image.Image
	err error
}

func (r *rig) pullAside(ctx context.Context, ref string, c Credentials) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		img, err := r.Pull(ctx, ref, c)
		done <- outcome{img, err}
	}()
	return done
}

// waiters waits until n callers share the flights.
func (r *rig) waiters(n int) {
	for {
		r.mu.Lock()
		sum := 0
		for _, f := range r.mu.flights {
			sum += f.waiters
		}
		r.mu.Unlock()
		if sum == n {
			return
		}
		runtime.Gosched()
	}
}

func TestOneFlight(t *testing.T) {
	l, r := newLoopback(t, false), newRig(t)
	ref, _, id := l.push(t, "app:v1", newImage(t, "x"))
	h := holdBlobs(l)
	ctx, cancel := context.WithCancel(background)
	quitter := r.pullAside(ctx, ref, Credentials{})
	<-h.came
	var others []<-chan outcome
	for range 5 {
		others = append(others, r.pullAside(background, ref, Credentials{}))
	}
	r.waiters(6)
	cancel()
	if o := <-quitter; !errors.Is(o.err, context.Canceled) {
		t.Errorf("the caller that gave up: %v", o.err)
	}
	close(h.release)
	for _, c := range others {
		o := <-c
		must(t, o.err)
		if o.img.ID.String() != id {
			t.Error(o.img.ID)
		}
	}
	if m, b := l.requests("/manifests/"), l.requests("/blobs/"); m != 1 || b != 4 {
		t.Errorf("%d manifests, %d blobs; want 1 and 4", m, b)
	}
}

func TestCancelEndsThePull(t *testing.T) {
	l, r := newLoopback(t, false), newRig(t)
	ref, _, _ := l.push(t, "app:v1", newImage(t, "x"))
	h := holdBlobs(l)
	ctx, cancel := context.WithCancel(background)
	done := r.pullAside(ctx, ref, Credentials{})
	<-h.came
	cancel()
	if o := <-done; !errors.Is(o.err, context.Canceled) {
		t.Error(o.err)
	}
	// Who comes now begins anew.
	close(h.release)
	_, err := r.Pull(background, ref, Credentials{})
	must(t, err)
}

func TestCloseEndsThePull(t *testing.T) {
	l, r := newLoopback(t, false), newRig(t)
	ref, _, _ := l.push(t, "app:v1", newImage(t, "x"))
	h := holdBlobs(l)
	done := r.pullAside(background, ref, Credentials{})
	<-h.came
	r.Close()
	if o := <-done; !errors.Is(o.err, context.Canceled) {
		t.Error(o.err)
	}
	if _, err := r.Pull(background, ref, Credentials{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestOtherCredentialsDontJoin: who may not pull an image doesn't get it by coming while another pulls it; the layers are fetched once though.
func TestOtherCredentialsDontJoin(t *testing.T) {
	l, r := newLoopback(t, false), newRig(t)
	ref, _, _ := l.push(t, "app:v1", newImage(t, "x"))
	h := holdBlobs(l)
	held := l.before
	l.before = func(w http.ResponseWriter, r *http.Request) bool { return wantBasic(w, r) || held(w, r) }
	first := r.pullAside(background, ref, Credentials{Username: user, Password: password})
	<-h.came
	if _, err := r.Pull(background, ref, Credentials{Username: "stranger", Password: "guess"}); !errors.Is(err, ErrUnauthenticated) {
		t.Error(err)
	}
	close(h.release)
	must(t, (<-first).err)
	// Nor later, when the store has it all.
	if _, err := r.Pull(background, ref, Credentials{}); !errors.Is(err, ErrUnauthenticated) {
		t.Error(err)
	}
}

// TestCVE_C9_SignedURLs: the registry sends downloads to a signed URL, which then fails in many ways. The signature shows nowhere.
func TestCVE_C9_SignedURLs(t *testing.T) {
	const signed = "X-Sig=MARKER-signature&x=a+MARKER%20b"
	ways := map[string]http.HandlerFunc{
		"refuses":   func(w http.ResponseWriter, r *http.Request) { problem(w, 403, "DENIED", "no "+r.URL.String()) },
		"not found": func(w http.ResponseWriter, r *http.Request) { problem(w, 404, "X", r.URL.RawQuery) },
		"asks": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://h/?`+signed+`"`)
			w.WriteHeader(401)
		},
		"aborts":       func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"no HTTP":      func(w http.ResponseWriter, r *http.Request) { raw(w, "MARKER-signature SMTP\r\n\r\n") },
		"wrong status": func(w http.ResponseWriter, r *http.Request) { raw(w, "HTTP/1.1 MARKER-signature\r\n\r\n") },
		"wrong header": func(w http.ResponseWriter, r *http.Request) { raw(w, "HTTP/1.1 200 OK\r\nMARKER-signature\r\n\r\n") },
		"wrong length": func(w http.ResponseWriter, r *http.Request) {
			raw(w, "HTTP/1.1 200 OK\r\nContent-Length: MARKER-signature\r\n\r\n")
		},
		"short": func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("x")) },
		"endless": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/again?"+signed, http.StatusTemporaryRedirect)
		},
		"nowhere": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://h.test:port/?"+signed)
			w.WriteHeader(307)
		},
		"dead port": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/?"+signed, http.StatusTemporaryRedirect)
		},
		"strange scheme": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "gopher://h/?"+signed, http.StatusTemporaryRedirect)
		},
		"control byte": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://h.test/\x7f?"+signed)
			w.WriteHeader(307)
		},
		"password in URL": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://u:MARKER-pw@127.0.0.1:1/", http.StatusTemporaryRedirect)
		},
		"echoes, encoded": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "MARKER-signature")
			w.Write([]byte("x"))
		},
		"wrong range": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "MARKER-signature")
			w.WriteHeader(206)
		},
	}
	for name, f := range ways {
		t.Run(name, func(t *testing.T) {
			l, r := newLoopback(t, false), newRig(t)
			ref, _, _ := l.push(t, "app:v1", newImage(t, "x"))
			store := newLoopback(t, false)
			store.before = func(w http.ResponseWriter, r *http.Request) bool { f(w, r); return true }
			l.before = func(w http.ResponseWriter, r *http.Request) bool {
				if isBlob(r) {
					http.Redirect(w, r, store.URL+"/b?"+signed, http.StatusTemporaryRedirect)
				}
				return isBlob(r)
			}
			_, err := r.Pull(background, ref, Credentials{})
			if err == nil {
				t.Error("pulled")
			}
			noMarker(t, r, err)
		})
	}
}

func raw(w http.ResponseWriter, text string) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	io.WriteString(conn, text)
	conn.Close()
}

// TestCVE_C9_EchoedSecrets: a registry tells the credentials and the token it was sent back in its errors.
func TestCVE_C9_EchoedSecrets(t *testing.T) {
	l, r := newLoopback(t, false), newRig(t)
	ref, _, _ := l.push(t, "app:v1", newImage(t, "x"))
	ask := tokenServer(l, l.URL+"/token")
	for name, before := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"registry": func(w http.ResponseWriter, r *http.Request) bool {
			if a := r.Header.Get("Authorization"); strings.HasPrefix(a, "Bearer") {
				problem(w, 403, a, "you sent "+a)
				return true
			}
			return ask(w, r)
		},
		"token server": func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasPrefix(r.URL.Path, "/token") {
				u, p, _ := r.BasicAuth()
				problem(w, 401, "X", r.Header.Get("Authorization")+u+p+r.FormValue("refresh_token"))
				return true
			}
			return ask(w, r)
		},
		"token is no JSON": func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasPrefix(r.URL.Path, "/token") {
				io.WriteString(w, "MARKER-token")
				return true
			}
			return ask(w, r)
		},
	} {
		l.set(before)
		for _, c := range []Credentials{{Username: user, Password: password}, {IdentityToken: identity}, {Auth: "cm9ib3Q6TUFSS0VSLXBhc3N3b3Jk"}} {
			_, err := r.Pull(background, ref, c)
			if err == nil {
				t.Errorf("%s: pulled", name)
			}
			noMarker(t, r, err)
			if strings.Contains(err.Error(), "TUFSS0VS") {
				t.Errorf("%s: base64 of a secret shows: %v", name, err)
			}
		}
	}
}

// TestCVE_C1_C3_C7_C11_C12: each is refused, with few requests, and the next pull works.
func TestCVE_C1_C3_C7_C11_C12(t *testing.T) {
	i := newImage(t, "x")
	for _, c := range []struct {
		name string
		make func(t *testing.T, l *loopback, manifest testimage.Descriptor)
	}{
		{"index and manifest at once", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			l.document(t, "app:bad", typeManifest, func(d map[string]any) { d["manifests"] = []any{} }, m)
		}},
		{"header says index", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			l.types[m.Digest] = typeIndex
			l.tag("app:bad", m)
		}},
		{"header says web page", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			l.types[m.Digest] = "text/html"
			l.tag("app:bad", m)
		}},
		{"body says index", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			l.document(t, "app:bad", typeManifest, func(d map[string]any) { d["mediaType"] = typeIndex }, m)
		}},
		{"descriptor says index", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			m.MediaType = typeIndex
			l.pushIndex(t, "app:bad", m)
		}},
		{"malformed digests", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			l.pushIndex(t, "app:bad", testimage.Descriptor{MediaType: typeManifest, Digest: "sha256:../../x"})
		}},
		{"digest of 10 MiB", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			l.pushIndex(t, "app:bad", testimage.Descriptor{MediaType: typeManifest, Digest: "sha256:" + strings.Repeat("a", 10<<20)})
		}},
		{"wrong size", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			m.Size++
			l.pushIndex(t, "app:bad", m)
		}},
		{"other bytes under the digest", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			l.pushIndex(t, "app:bad", m)
			l.blobs[m.Digest] = append(bytes.Clone(l.blobs[m.Digest]), ' ')
		}},
		{"indexes in indexes", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			for depth := range 10 {
				var list []testimage.Descriptor
				for n := range 100 {
					d := m
					d.Platform = map[string]string{"os": "linux", "architecture": runtime.GOARCH, "x": fmt.Sprint(depth, n)}
					list = append(list, d)
				}
				m = l.pushIndex(t, "app:bad", list...)
			}
		}},
		{"too many descriptors", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			list := make([]testimage.Descriptor, 2000)
			for n := range list {
				list[n] = m
			}
			l.pushIndex(t, "app:bad", list...)
		}},
		{"endless manifest", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			l.before = func(w http.ResponseWriter, r *http.Request) bool {
				for r.Context().Err() == nil {
					if _, err := w.Write(make([]byte, 64<<10)); err != nil {
						return true
					}
				}
				return true
			}
		}},
		{"a layer is nonsense", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			junk := make([]byte, 10_000)
			rand.New(rand.NewSource(1)).Read(junk)
			l.layer(t, m, junk)
		}},
		{"a layer is empty", func(t *testing.T, l *loopback, m testimage.Descriptor) { l.layer(t, m, nil) }},
		{"a layer is another", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			b, err := newImage(t, "another").Layers[0].Blob()
			must(t, err)
			l.layer(t, m, b)
		}},
		{"a layer is cut off", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			b, err := i.Layers[0].Blob()
			must(t, err)
			l.layer(t, m, b[:len(b)/2])
		}},
		{"a layer has more", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			b, err := i.Layers[0].Blob()
			must(t, err)
			l.tag("app:bad", m)
			l.blobs[testimage.Digest(b)] = append(bytes.Clone(b), "more"...)
		}},
		{"wrong digest in the header", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			l.before = func(w http.ResponseWriter, r *http.Request) bool {
				w.Header().Set("Content-Type", typeManifest)
				w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
				w.Write(l.blobs[m.Digest])
				return true
			}
		}},
		{"malformed digest in the header", func(t *testing.T, l *loopback, m testimage.Descriptor) {
			l.before = func(w http.ResponseWriter, r *http.Request) bool {
				w.Header().Set("Content-Type", typeManifest)
				w.Header().Set("Docker-Content-Digest", "../../etc")
				w.Write(l.blobs[m.Digest])
				return true
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, r := newLoopback(t, false), newRig(t)
			_, manifest, _ := l.push(t, "app:v1", i)
			c.make(t, l, manifest)
			before := l.requests("")
			_, err := r.Pull(background, l.address+"/app:bad", Credentials{})
			if !errors.Is(err, image.ErrInvalid) {
				t.Errorf("got %v", err)
			}
			if len(err.Error()) > 2000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			if n := l.requests("") - before; n > 8 {
				t.Errorf("%d requests", n)
			}
			if list := r.Images.List(); len(list) != 0 {
				t.Errorf("there is an image: %v", list)
			}
			good, _, _ := newLoopback(t, false).push(t, "app:v1", i)
			_, err = r.Pull(background, good, Credentials{})
			must(t, err)
		})
	}
}

// document puts a changed manifest under name.
func (l *loopback) document(t testing.TB, name, mediaType string, change func(map[string]any), m testimage.Descriptor) testimage.Descriptor {
	t.Helper()
	var d map[string]any
	must(t, json.Unmarshal(l.blobs[m.Digest], &d))
	change(d)
	data, err := json.Marshal(d)
	must(t, err)
	desc := l.put(mediaType, data)
	l.tag(name, desc)
	return desc
}

// layer puts other bytes in the place of the manifest's first layer, with the right digest and size for them, under app:bad.
func (l *loopback) layer(t testing.TB, m testimage.Descriptor, data []byte) {
	t.Helper()
	fresh := l.put("", data)
	l.document(t, "app:bad", typeManifest, func(d map[string]any) {
		layer := d["layers"].([]any)[0].(map[string]any)
		layer["digest"], layer["size"] = fresh.Digest, fresh.Size
	}, m)
}

// TestCVE_C8_ForeignURLs: what a descriptor says under urls is never asked.
func TestCVE_C8_ForeignURLs(t *testing.T) {
	l, b, r := newLoopback(t, false), newLoopback(t, false), newRig(t)
	_, m, _ := l.push(t, "app:v1", newImage(t, "x"))
	l.document(t, "app:v1", typeManifest, func(d map[string]any) {
		for _, layer := range d["layers"].([]any) {
			layer.(map[string]any)["urls"] = []string{b.URL + "/layer"}
			layer.(map[string]any)["mediaType"] = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
		}
	}, m)
	_, err := r.Pull(background, l.address+"/app:v1", Credentials{})
	must(t, err)
	if seen := b.everything(); seen != "" {
		t.Errorf("asked:\n%s", seen)
	}
}
