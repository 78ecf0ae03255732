package image

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Small files are most of a layer, and a file costs about the same to make as to write. So unpack makes them, one after the other as the tar has them, since each name
// means what the entries before it made of the tree; their content, owner, attributes and times are written through the open files by writers beside it, in any order.
//
// Files travel in batches, so that the goroutines don't wait for each other at each one. What lies between them is bounded: maxBatches times batchBytes, and times batchFiles open files.
const (
	smallFileBytes = 64 << 10 // what is larger unpack writes itself
	batchBytes     = 128 << 10
	batchFiles     = 32
	maxWriters     = 2
	maxBatches     = maxWriters + 2 // each writer's, the one being filled, one to take next
)

// smallFiles are the writers of one layer, and what waits for them. It is for one goroutine.
type smallFiles struct {
	s       *Store
	ctx     context.Context
	free    chan *batch
	full    chan *batch
	batches int    // that were made
	writers int    // that were started
	now     *batch // being filled, or nil
	running sync.WaitGroup
	bytes   atomic.Int64 // on the disk, of files that are complete
	failed  atomic.Pointer[error]
}

// batch is files that were made and are to be written.
type batch struct {
	buf   []byte
	used  int
	files []smallFile
}

type smallFile struct {
	fd      int // open for writing; the batch's to close
	header  *tar.Header
	content []byte // part of the batch's buf
}

func (s *Store) newSmallFiles(ctx context.Context) *smallFiles {
	return &smallFiles{s: s, ctx: ctx, free: make(chan *batch, maxBatches), full: make(chan *batch, maxBatches)}
}

// add reads the content of the file that was just made at fd, and leaves the rest to the writers. The fd is closed whatever happens.
func (f *smallFiles) add(fd int, h *tar.Header, body io.Reader) error {
	size := int(h.Size)
	if f.now != nil && (len(f.now.files) == batchFiles || f.now.used+size > batchBytes) {
		f.flush()
	}
	if f.now == nil {
		if err := f.begin(); err != nil {
			unix.Close(fd)
			return err
		}
	}
	b := f.now
	content := b.buf[b.used : b.used+size]
	if _, err := io.ReadFull(body, content); err != nil {
		unix.Close(fd)
		return invalid("content: %w", err)
	}
	b.used += size
	b.files = append(b.files, smallFile{fd, h, content})
	return nil
}

// begin waits for a batch that is free.
func (f *smallFiles) begin() error {
	select {
	case f.now = <-f.free:
		return nil
	default:
	}
	if f.batches < maxBatches {
		f.batches++
		f.now = &batch{buf: make([]byte, batchBytes), files: make([]smallFile, 0, batchFiles)}
		return nil
	}
	select {
	case f.now = <-f.free:
		return nil
	case <-f.ctx.Done():
		return context.Cause(f.ctx)
	}
}

// flush gives the batch to the writers, of which another is started while there are fewer than batches.
func (f *smallFiles) flush() {
	if f.now == nil {
		return
	}
	f.full <- f.now // which has room for all
	f.now = nil
	if f.writers < min(maxWriters, f.batches) {
		f.writers++
		f.running.Add(1)
		f.s.background(f.ctx, "write small files", func(context.Context) {
			defer f.running.Done()
			for b := range f.full {
				f.write(b)
			}
		})
	}
}

// settle waits until all files are complete: what comes next is about the disk as it is.
func (f *smallFiles) settle() error {
	f.flush()
	var done []*batch
	for len(done) < f.batches {
		select {
		case b := <-f.free:
			done = append(done, b)
		case <-f.ctx.Done():
			return context.Cause(f.ctx)
		}
	}
	for _, b := range done {
		f.free <- b
	}
	return f.err()
}

// end writes what is left, unless something has failed, ends the writers and waits for them. Nothing may follow.
func (f *smallFiles) end() error {
	f.flush()
	close(f.full)
	f.running.Wait()
	return f.err()
}

// err is the first error, or why writers gave up.
func (f *smallFiles) err() error {
	if err := f.failed.Load(); err != nil {
		return *err
	}
	if f.ctx.Err() != nil {
		return context.Cause(f.ctx)
	}
	return nil
}

// fail has the writers close what comes, and do nothing else.
func (f *smallFiles) fail(err error) { f.failed.CompareAndSwap(nil, &err) }

// write completes a batch.
func (f *smallFiles) write(b *batch) {
	done := 0
	defer func() {
		// A panic is one import's failure, not the daemon's end (CVE-2026-95839).
		if v := recover(); v != nil {
			f.s.log.Error("panic while unpacking", "panic", v, "stack", string(debug.Stack()))
			f.fail(fmt.Errorf("panic while unpacking: %v", v))
		}
		for _, file := range b.files[done:] {
			unix.Close(file.fd)
		}
		clear(b.files)
		b.files, b.used = b.files[:0], 0
		f.free <- b
	}()
	for i := range b.files {
		if f.failed.Load() != nil || f.ctx.Err() != nil {
			return
		}
		file := &b.files[i]
		err := writeAll(file.fd, file.content)
		if err == nil {
			var blocks int64
			blocks, err = finishFile(file.fd, file.header)
			f.bytes.Add(blocks * 512)
		}
		if err != nil {
			f.fail(fmt.Errorf("entry %s: %w", quote(file.header.Name), err))
			return
		}
		unix.Close(file.fd)
		done++
	}
}
