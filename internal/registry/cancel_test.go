package registry

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestCancelAnywhere: whatever a pull waits for, who gives it up has an answer at once, and the registry's connection ends.
func TestCancelAnywhere(t *testing.T) {
	for name, at := range map[string]func(l *loopback, w http.ResponseWriter, q *http.Request, wait func()) bool{
		"the first answer": func(_ *loopback, w http.ResponseWriter, q *http.Request, wait func()) bool { wait(); return true },
		"the rest of a manifest": func(_ *loopback, w http.ResponseWriter, q *http.Request, wait func()) bool {
			w.Header().Set("Content-Length", "1000")
			w.Write([]byte("{"))
			w.(http.Flusher).Flush()
			wait()
			return true
		},
		"a token": func(l *loopback, w http.ResponseWriter, q *http.Request, wait func()) bool {
			if strings.HasPrefix(q.URL.Path, "/token") {
				wait()
				return true
			}
			return tokenServer(l, l.URL+"/token")(w, q)
		},
		"the rest of a token": func(l *loopback, w http.ResponseWriter, q *http.Request, wait func()) bool {
			if strings.HasPrefix(q.URL.Path, "/token") {
				w.Write([]byte("{"))
				w.(http.Flusher).Flush()
				wait()
				return true
			}
			return tokenServer(l, l.URL+"/token")(w, q)
		},
		"what Retry-After says": func(_ *loopback, w http.ResponseWriter, _ *http.Request, _ func()) bool {
			w.Header().Set("Retry-After", "50")
			problem(w, 429, "TOOMANYREQUESTS", "slow down")
			return true
		},
		"a blob": func(_ *loopback, w http.ResponseWriter, q *http.Request, wait func()) bool {
			if isBlob(q) {
				wait()
			}
			return isBlob(q)
		},
		"the rest of a blob": func(_ *loopback, w http.ResponseWriter, q *http.Request, wait func()) bool {
			if isBlob(q) {
				w.Write([]byte("x"))
				w.(http.Flusher).Flush()
				wait()
			}
			return isBlob(q)
		},
		"a redirect's answer": func(_ *loopback, w http.ResponseWriter, q *http.Request, wait func()) bool {
			if q.URL.RawQuery != "" {
				wait()
				return true
			}
			http.Redirect(w, q, q.URL.Path+"?there", http.StatusTemporaryRedirect)
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, r := newLoopback(t, false), newRig(t)
			waits := make(chan struct{}, 100)
			r.sleep = func(ctx context.Context, d time.Duration) error {
				waits <- struct{}{}
				return sleep(ctx, d)
			}
			ref, _, _ := l.push(t, "app:v1", newImage(t, "x"))
			var busy sync.WaitGroup
			l.set(func(w http.ResponseWriter, q *http.Request) bool {
				busy.Add(1)
				defer busy.Done()
				return at(l, w, q, func() {
					waits <- struct{}{}
					<-q.Context().Done()
				})
			})
			ctx, cancel := context.WithCancel(background)
			done := r.pullAside(ctx, ref, Credentials{Username: user, Password: password})
			<-waits
			cancel()
			if o := <-done; !errors.Is(o.err, context.Canceled) {
				t.Error(o.err)
			}
			r.Close()
			busy.Wait()
		})
	}
}
