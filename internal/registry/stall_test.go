package registry

import (
	"errors"
	"net/http"
	"testing"
	"time"
)

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
