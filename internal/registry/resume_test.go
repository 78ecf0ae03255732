package registry

import (
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
)

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
