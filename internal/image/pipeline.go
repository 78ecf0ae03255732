package image

import (
	"context"
	"fmt"
	"hash"
	"io"
	"runtime/debug"
	"sync"
)

// A layer's bytes go through a pipeline, each step of which works while the next one does:
//
//	download ─▶ hash ─▶ inflate ─▶ hash ─▶ tar, files
//	  (blob)   (digest)           (diffID)  (the caller)
//
// So the slowest step alone tells how long a layer takes. What is between two steps are a few chunks of fixed size: a step that is slower
// holds those before it.

const (
	chunkBytes = 64 << 10
	// Of the chunks between two steps one is being filled, one hashed and one read; the fourth keeps them from waiting for each other.
	chunksAhead = 4
)

// pipeline is the goroutines that work on one layer.
type pipeline struct {
	s       *Store
	ctx     context.Context
	cancel  context.CancelFunc
	workers sync.WaitGroup
}

func (s *Store) newPipeline(ctx context.Context) *pipeline {
	ctx, cancel := context.WithCancel(ctx)
	return &pipeline{s: s, ctx: ctx, cancel: cancel}
}

// end ends the goroutines and waits for them. A source must give up reading when its context ends.
func (p *pipeline) end() {
	p.cancel()
	p.workers.Wait()
}

// chunk is bytes on their way. The last one has the reason why no other follows.
type chunk struct {
	data []byte
	err  error
}

// ahead reads what its source gives in a goroutine of its own, and hands it on hashed.
type ahead struct {
	ctx  context.Context
	free chan []byte
	full <-chan chunk
	now  chunk  // being read
	rest []byte // of it
}

// readAhead begins to read r at once, and closes it at the end. h, unless nil, has seen every byte when Read has given io.EOF. An error of r is given
// after the bytes before it, and a panic of it is an error.
func (p *pipeline) readAhead(r io.ReadCloser, h hash.Hash) *ahead {
	a := &ahead{ctx: p.ctx, free: make(chan []byte, chunksAhead)}
	for range chunksAhead {
		a.free <- nil // made when first needed: most layers are small
	}
	read := p.stage(func(out chan<- chunk) {
		defer r.Close()
		a.fill(r, out)
	})
	a.full = read
	if h != nil {
		a.full = p.stage(func(out chan<- chunk) {
			for b := range read {
				h.Write(b.data)
				out <- b
			}
		})
	}
	return a
}

// stage runs one step. It can never wait for room in out, which has a place for every chunk there is.
func (p *pipeline) stage(work func(out chan<- chunk)) <-chan chunk {
	out := make(chan chunk, chunksAhead+1)
	p.workers.Add(1)
	p.s.background(p.ctx, "unpack a layer", func(context.Context) {
		defer p.workers.Done()
		defer close(out)
		defer func() {
			// A decoder's panic is one import's failure, not the daemon's end (CVE-2026-95839).
			if v := recover(); v != nil {
				p.s.log.Error("panic while unpacking", "panic", v, "stack", string(debug.Stack()))
				out <- chunk{err: fmt.Errorf("unpacking: %w: %v", ErrPanic, v)}
			}
		}()
		work(out)
	})
	return out
}

// fill reads until r ends or nobody wants more.
func (a *ahead) fill(r io.Reader, out chan<- chunk) {
	for {
		var buf []byte
		select {
		case buf = <-a.free:
		case <-a.ctx.Done():
			return
		}
		if buf == nil {
			buf = make([]byte, chunkBytes)
		}
		n, err := r.Read(buf)
		for err == nil && n < len(buf) {
			var more int
			more, err = r.Read(buf[n:])
			n += more
		}
		out <- chunk{buf[:n], err}
		if err != nil {
			return
		}
	}
}

// Read implements io.Reader.
func (a *ahead) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.now.err != nil {
			return 0, a.now.err
		}
		if a.now.data != nil {
			a.free <- a.now.data[:chunkBytes]
			a.now.data = nil
		}
		var ok bool
		select {
		case a.now, ok = <-a.full:
		case <-a.ctx.Done():
		}
		if !ok {
			return 0, context.Cause(a.ctx)
		}
		a.rest = a.now.data
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}
