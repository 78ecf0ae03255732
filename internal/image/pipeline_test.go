package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"podlet/hack/testimages/testimage"
)

// closable counts how often it is closed.
type closable struct {
	io.Reader
	closed atomic.Int64
}

func (c *closable) Close() error { c.closed.Add(1); return nil }

func TestReadAhead(t *testing.T) {
	s := newStore(t)
	data := make([]byte, chunksAhead*chunkBytes*3+17)
	rand.New(rand.NewSource(1)).Read(data)
	for name, slow := range map[string]func(io.Reader) io.Reader{
		"as it comes":      func(r io.Reader) io.Reader { return r },
		"half":             iotest.HalfReader,
		"end with data":    iotest.DataErrReader,
		"one byte a time":  func(r io.Reader) io.Reader { return iotest.OneByteReader(io.LimitReader(r, chunkBytes+1)) },
		"nothing":          func(r io.Reader) io.Reader { return io.LimitReader(r, 0) },
		"one whole chunk":  func(r io.Reader) io.Reader { return io.LimitReader(r, chunkBytes) },
		"as many as ahead": func(r io.Reader) io.Reader { return io.LimitReader(r, chunksAhead*chunkBytes) },
	} {
		t.Run(name, func(t *testing.T) {
			want, err := io.ReadAll(slow(bytes.NewReader(data)))
			must(t, err)
			p := s.newPipeline(ctx)
			defer p.end()
			source := &closable{Reader: slow(bytes.NewReader(data))}
			h := sha256.New()
			a := p.readAhead(source, h)
			got, err := io.ReadAll(a)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, %v; want %d", len(got), err, len(want))
			}
			if sum := sha256.Sum256(want); !bytes.Equal(h.Sum(nil), sum[:]) {
				t.Error("another hash")
			}
			if n, err := a.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("after the end: %d, %v", n, err)
			}
			p.end()
			if n := source.closed.Load(); n != 1 {
				t.Errorf("closed %d times", n)
			}
		})
	}
}

// TestReadAheadBound: a slow reader holds the source.
func TestReadAheadBound(t *testing.T) {
	s := newStore(t)
	p := s.newPipeline(ctx)
	defer p.end()
	var given atomic.Int64
	a := p.readAhead(io.NopCloser(readerFunc(func(b []byte) (int, error) {
		given.Add(int64(len(b)))
		return len(b), nil
	})), sha256.New())
	var read int64
	for range 100 {
		n, err := a.Read(make([]byte, chunkBytes))
		must(t, err)
		read += int64(n)
		if ahead := given.Load() - read; ahead > chunksAhead*chunkBytes {
			t.Fatalf("%d bytes ahead", ahead)
		}
	}
}

// TestReadAheadError: what was read before an error comes before it.
func TestReadAheadError(t *testing.T) {
	s := newStore(t)
	broken := errors.New("broken")
	for name, end := range map[string]func() (int, error){
		"error": func() (int, error) { return 0, broken },
		"panic": func() (int, error) { panic(broken) },
	} {
		p := s.newPipeline(ctx)
		defer p.end()
		source := &closable{Reader: io.MultiReader(strings.NewReader("before"), readerFunc(func([]byte) (int, error) { return end() }))}
		got, err := io.ReadAll(p.readAhead(source, sha256.New()))
		if err == nil || !strings.Contains(err.Error(), "broken") || name == "error" && string(got) != "before" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		p.end()
		if n := source.closed.Load(); n != 1 {
			t.Errorf("%s: closed %d times", name, n)
		}
	}
}

// TestReadAheadCancel: a reader that waits for a source which waits is told at once, and the pipeline's end waits for nobody else.
func TestReadAheadCancel(t *testing.T) {
	s := newStore(t)
	parent, cancel := context.WithCancelCause(ctx)
	p := s.newPipeline(parent)
	waiting := make(chan struct{})
	source := &closable{Reader: readerFunc(func([]byte) (int, error) {
		close(waiting)
		<-p.ctx.Done()
		return 0, p.ctx.Err()
	})}
	first := p.readAhead(source, sha256.New())
	second := p.readAhead(io.NopCloser(first), sha256.New())
	why := errors.New("why")
	go func() { <-waiting; cancel(why) }()
	if _, err := second.Read(make([]byte, 1)); !errors.Is(err, why) {
		t.Error(err)
	}
	p.end()
	if source.closed.Load() != 1 {
		t.Error("not closed")
	}
}

// TestSourceErrors: a source that breaks, wherever it does, is told from a layer that is malformed, whatever decoder is in between.
func TestSourceErrors(t *testing.T) {
	s := newStore(t)
	tree := testimage.NewTree()
	for i := range 20 {
		body := make([]byte, 5000)
		rand.New(rand.NewSource(int64(i))).Read(body)
		tree.File(fmt.Sprintf("f%d", i), 0o644, string(body))
	}
	broken := errors.New("broken")
	for _, c := range []testimage.Compression{testimage.None, testimage.Gzip, testimage.Zstd} {
		layer, err := tree.Layer(c)
		must(t, err)
		blob, err := layer.Blob()
		must(t, err)
		diffID, err := ParseDigest(testimage.Digest(layer.Tar))
		must(t, err)
		for at := 0; at < len(blob); at += 1 + len(blob)/23 {
			pins := s.Pins()
			err := s.EnsureLayer(ctx, pins, LayerSource{DiffID: diffID, Blob: digestOf(blob), Size: int64(len(blob)), Open: func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(io.MultiReader(bytes.NewReader(blob[:at]), iotest.ErrReader(broken))), nil
			}})
			if !errors.Is(err, broken) || errors.Is(err, ErrInvalid) {
				t.Errorf("compression %d, byte %d of %d: %v", c, at, len(blob), err)
			}
			pins.Release()
		}
	}
	checkStore(t, s)
}
