package registry

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"podlet/hack/testimages/testimage"
	"podlet/internal/image"
)

// breaker is in front of a server. Of all bytes that come back it lets so many pass, then resets one connection; after that it lets all pass.
type breaker struct {
	net.Listener
	to    string
	left  atomic.Int64
	broke atomic.Bool
	conns sync.WaitGroup
}

func newBreaker(t testing.TB, to string) *breaker {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	b := &breaker{Listener: l, to: to}
	b.conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			b.conns.Go(func() { b.carry(conn.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		b.conns.Wait()
	})
	return b
}

func (b *breaker) carry(in *net.TCPConn) {
	defer in.Close()
	out, err := net.Dial("tcp", b.to)
	if err != nil {
		return
	}
	defer out.Close()
	var up sync.WaitGroup
	up.Go(func() {
		io.Copy(struct{ io.Writer }{out}, in)
		out.Close()
	})
	defer up.Wait()
	buf := make([]byte, 4096)
	for {
		n, err := out.Read(buf)
		if over := -b.left.Add(-int64(n)); over >= 0 && b.broke.CompareAndSwap(false, true) {
			in.Write(buf[:max(0, n-int(over))]) // another connection may be further over
			in.SetLinger(0)
			in.Close()
			return
		}
		if _, werr := in.Write(buf[:n]); err != nil || werr != nil {
			in.Close()
			return
		}
	}
}

var resetStep = flag.Int64("reset-step", 127, "TestResetOnceAtEachByte resets a connection at each multiple of so many bytes; 1 is the whole truth")

// TestResetOnceAtEachByte: wherever in all that a registry sends a connection is reset, be it in a header, a manifest, the config or a layer, the pull goes on.
func TestResetOnceAtEachByte(t *testing.T) {
	i := newImage(t, "x")
	i.Layers = i.Layers[:2]
	for _, noRanges := range []bool{false, true} {
		l, r := newLoopback(t, false), newRig(t)
		l.noRanges = noRanges
		_, _, id := l.push(t, "app:v1", i)
		b := newBreaker(t, l.address)
		n := int64(0)
		b.broke.Store(true)
		for ; b.broke.Load(); n += *resetStep {
			b.left.Store(n)
			b.broke.Store(false)
			img, err := r.Pull(background, b.Addr().String()+"/app:v1", Credentials{})
			if err != nil || img.ID.String() != id {
				t.Fatalf("reset at byte %d: %v, %v", n, img.ID, err)
			}
			must(t, r.Images.Remove(img.ID.String()))
		}
		t.Logf("one pull is %d bytes", n)
		if n < 1500 {
			t.Errorf("the last reset was at byte %d", n)
		}
	}
}

// TestBreaksAfterTheLastByte: a connection that breaks when all bytes came has not broken off. There is nothing left to ask for: servers refuse a range behind the end.
func TestBreaksAfterTheLastByte(t *testing.T) {
	l, r := newLoopback(t, false), newRig(t)
	ref, _, id := l.push(t, "app:v1", newImage(t, "x"))
	l.set(func(w http.ResponseWriter, q *http.Request) bool {
		switch {
		case !isBlob(q):
			return false
		case q.Header.Get("Range") != "":
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		default:
			data := l.blob(q.URL.Path[strings.LastIndexByte(q.URL.Path, '/')+1:])
			raw(w, fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(data), data))
		}
		return true
	})
	img, err := r.Pull(background, ref, Credentials{})
	if err != nil || img.ID.String() != id {
		t.Errorf("%v, %v", img.ID, err)
	}
}

// TestLengths: what a registry says of a blob's length, or doesn't, is never believed.
func TestLengths(t *testing.T) {
	i := newImage(t, "x")
	layer, err := i.Layers[2].Blob()
	must(t, err)
	digest := testimage.Digest(layer)
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter)
		err    error // nil: it works
	}{
		"no length": {func(w http.ResponseWriter) {
			w.(http.Flusher).Flush()
			w.Write(layer)
		}, nil},
		"no length, less": {func(w http.ResponseWriter) {
			w.(http.Flusher).Flush()
			w.Write(layer[:len(layer)/2])
		}, ErrUnavailable},
		"no length, more": {func(w http.ResponseWriter) {
			w.(http.Flusher).Flush()
			w.Write(append(layer[:len(layer):len(layer)], 'x'))
		}, image.ErrInvalid},
		"no length, endless": {func(w http.ResponseWriter) {
			w.(http.Flusher).Flush()
			for {
				if _, err := w.Write(layer); err != nil {
					return
				}
			}
		}, image.ErrInvalid},
		"says more": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", fmt.Sprint(len(layer)+1))
			w.Write(layer)
		}, image.ErrInvalid},
		"says less": {func(w http.ResponseWriter) {
			raw(w, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(layer)-1, layer))
		}, image.ErrInvalid},
		"says less than nothing": {func(w http.ResponseWriter) { raw(w, "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n") }, ErrUnavailable},
		"says two lengths": {func(w http.ResponseWriter) {
			raw(w, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nContent-Length: 1\r\n\r\n%s", len(layer), layer))
		}, ErrUnavailable},
		"says an exabyte": {func(w http.ResponseWriter) { raw(w, "HTTP/1.1 200 OK\r\nContent-Length: 1152921504606846976\r\n\r\nx") }, image.ErrInvalid},
		"a chunk of an exabyte": {func(w http.ResponseWriter) {
			raw(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000000000000000\r\nx")
		}, ErrUnavailable},
		"a range nobody wanted": {func(w http.ResponseWriter) {
			raw(w, fmt.Sprintf("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 1-%d/%d\r\nContent-Length: %d\r\n\r\n%s", len(layer)-1, len(layer), len(layer)-1, layer[1:]))
		}, ErrUnavailable},
		"nothing": {func(w http.ResponseWriter) { w.WriteHeader(204) }, ErrUnavailable},
		"endless header": {func(w http.ResponseWriter) {
			raw(w, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 1<<20)+"\r\n\r\n")
		}, ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			l, r := newLoopback(t, false), newRig(t)
			ref, _, id := l.push(t, "app:v1", i)
			l.set(func(w http.ResponseWriter, q *http.Request) bool {
				if !strings.HasSuffix(q.URL.Path, digest) {
					return false
				}
				c.answer(w)
				return true
			})
			img, err := r.Pull(background, ref, Credentials{})
			if !errors.Is(err, c.err) || c.err == nil && (err != nil || img.ID.String() != id) {
				t.Errorf("got %v, %v; want %v", img.ID, err, c.err)
			}
			if n := l.requests(digest); n > 2*(maxRepeats+1) {
				t.Errorf("%d requests", n)
			}
			l.set(nil)
			_, err = r.Pull(background, ref, Credentials{})
			must(t, err)
		})
	}
}
