package registry

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

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
