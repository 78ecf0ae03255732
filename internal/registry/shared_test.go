package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"podlet/hack/testimages/testimage"
)

// sharers are two images that differ in their topmost layer alone, which is small.
func sharers(t testing.TB) (a, b testimage.Image) {
	t.Helper()
	for n, i := range []*testimage.Image{&a, &b} {
		i.Layers = append(i.Layers, bigImage(t, "shared", 1<<20).Layers...)
		i.Layers = append(i.Layers, newImage(t, "shared").Layers...)
		layer, err := testimage.NewTree().File("own", 0o644, fmt.Sprint(n)).Layer(testimage.Gzip)
		must(t, err)
		i.Layers = append(i.Layers, layer)
	}
	return a, b
}

// counted counts the bytes that the registry sends of blobs.
func counted(l *loopback) *atomic.Int64 {
	var sent atomic.Int64
	l.set(func(w http.ResponseWriter, r *http.Request) bool {
		if isBlob(r) {
			l.serve(&countingWriter{w, &sent}, r)
		}
		return isBlob(r)
	})
	return &sent
}

type countingWriter struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	// Before the client has them: it may be at the pull's end when Write returns.
	c.n.Add(int64(len(p)))
	return c.ResponseWriter.Write(p)
}

// TestTwoPullsCost: two images that share layers, pulled at once, cost less than 1.2 times what one costs: each layer is asked for once.
func TestTwoPullsCost(t *testing.T) {
	a, b := sharers(t)
	one := newLoopback(t, false)
	ref, _, _ := one.push(t, "a:v1", a)
	alone := counted(one)
	_, err := newRig(t).Pull(background, ref, Credentials{})
	must(t, err)
	if alone.Load() < 1<<20 {
		t.Fatalf("one pull took %d bytes", alone.Load())
	}
	for range 10 {
		l, r := newLoopback(t, false), newRig(t)
		refA, _, idA := l.push(t, "a:v1", a)
		refB, _, idB := l.push(t, "b:v1", b)
		sent := counted(l)
		pulls := map[string]<-chan outcome{idA: r.pullAside(background, refA, Credentials{}), idB: r.pullAside(background, refB, Credentials{})}
		for id, c := range pulls {
			o := <-c
			must(t, o.err)
			if o.img.ID.String() != id {
				t.Errorf("got %v, want %v", o.img.ID, id)
			}
		}
		if n := l.requests("/blobs/"); n != 2+4+2 {
			t.Errorf("%d blobs, want two configs, four shared layers and two others", n)
		}
		if ratio := float64(sent.Load()) / float64(alone.Load()); ratio >= 1.2 {
			t.Errorf("%d bytes were sent, %.2f times those of one pull", sent.Load(), ratio)
		}
	}
}

// TestSharedLayersSurviveCancel: the pull that fetches the shared layers is given up; the one that waited for them fetches them itself.
func TestSharedLayersSurviveCancel(t *testing.T) {
	a, b := sharers(t)
	l, r := newLoopback(t, false), newRig(t)
	refA, _, _ := l.push(t, "a:v1", a)
	refB, _, idB := l.push(t, "b:v1", b)
	h := holdBlobs(l)
	config, err := a.ConfigJSON()
	must(t, err)
	other, err := b.ConfigJSON()
	must(t, err)
	held := l.before
	second := make(chan struct{})
	l.set(func(w http.ResponseWriter, q *http.Request) bool {
		if strings.HasSuffix(q.URL.Path, testimage.Digest(config)) {
			return false
		}
		if strings.HasSuffix(q.URL.Path, testimage.Digest(other)) {
			close(second)
			return false
		}
		return held(w, q)
	})
	ctx, cancel := context.WithCancel(background)
	one := r.pullAside(ctx, refA, Credentials{})
	<-h.came
	two := r.pullAside(background, refB, Credentials{})
	<-second
	cancel()
	if o := <-one; !errors.Is(o.err, context.Canceled) {
		t.Error(o.err)
	}
	close(h.release)
	o := <-two
	must(t, o.err)
	if o.img.ID.String() != idB {
		t.Error(o.img.ID)
	}
}

// TestProgress: a pull tells of its layers before the first byte of one, and at its end that all are there.
func TestProgress(t *testing.T) {
	l, r := newLoopback(t, false), newRig(t)
	i := newImage(t, "x")
	ref, _, _ := l.push(t, "app:v1", i)
	h := holdBlobs(l)
	config, err := i.ConfigJSON()
	must(t, err)
	held := l.before
	l.set(func(w http.ResponseWriter, q *http.Request) bool {
		return !strings.HasSuffix(q.URL.Path, testimage.Digest(config)) && held(w, q)
	})
	released := false
	var last Progress
	_, err = r.PullWatched(background, ref, Credentials{}, 1, func(p Progress) {
		last = p
		if len(p.Layers) > 0 && !released {
			released = true
			for _, l := range p.Layers {
				if l.Read != 0 || l.Done || l.Size == 0 {
					t.Errorf("before the first byte: %+v", l)
				}
			}
			close(h.release)
		}
	})
	must(t, err)
	if !released || len(last.Layers) != 3 {
		t.Fatalf("at the end: %+v", last)
	}
	for n, layer := range last.Layers {
		blob, err := i.Layers[n].Blob()
		must(t, err)
		if layer.Digest.String() != testimage.Digest(blob) || layer.Read != int64(len(blob)) || layer.Size != layer.Read || layer.Entries != 2 || !layer.Done || layer.Shared {
			t.Errorf("layer %d: %+v", n, layer)
		}
	}
	_, err = r.PullWatched(background, ref, Credentials{}, 1<<40, func(p Progress) { last = p })
	must(t, err)
	for n, layer := range last.Layers {
		if !layer.Done || !layer.Shared || layer.Read != 0 {
			t.Errorf("layer %d, again: %+v", n, layer)
		}
	}
}
