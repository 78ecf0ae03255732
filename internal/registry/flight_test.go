package registry

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"sync"
	"testing"
)

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
