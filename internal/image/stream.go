package image

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"sync/atomic"

	"podlet/internal/mount"
)

// unpackInto makes dir and unpacks the layer's bytes into it, as they come. Both digests are right when it returns without an error.
func (s *Store) unpackInto(ctx context.Context, dir string, src LayerSource) (treeSize, error) {
	if err := s.root.Mkdir(dir, 0o755); err != nil {
		return treeSize{}, err
	}
	tree, err := s.openTree(dir)
	if err != nil {
		return treeSize{}, err
	}
	defer tree.Close()
	p := s.newPipeline(ctx)
	defer p.end()
	blob, err := src.Open(p.ctx)
	if err != nil {
		return treeSize{}, err
	}
	in := &meter{ctx: p.ctx, r: blob, most: src.Size}
	var blobHash hash.Hash
	if !src.Blob.IsZero() {
		blobHash = src.Blob.newHash()
	}
	compressed := p.readAhead(in, blobHash)
	plain, err := decompress(compressed)
	if err != nil {
		return treeSize{}, explain(ctx, err)
	}
	tarHash := src.DiffID.newHash()
	out := p.readAhead(plain, tarHash)
	headers := path.Join(path.Dir(dir), fileHeaders)
	keep, err := s.newHeaders(headers)
	if err != nil {
		return treeSize{}, err
	}
	defer keep.f.Close()
	size, err := s.unpack(ctx, out, tree, func(entries int64) {
		src.report(LayerProgress{Read: in.n.Load(), Entries: entries})
	}, keep)
	if err != nil {
		return treeSize{}, explain(ctx, err)
	}
	// What follows the archive's end belongs to the digests too.
	if _, err := io.Copy(keep, out); err != nil {
		return treeSize{}, explain(ctx, invalid("after the tar's end: %w", err))
	}
	if _, err := io.Copy(io.Discard, compressed); err != nil {
		return treeSize{}, explain(ctx, err)
	}
	read := in.n.Load()
	if src.Size >= 0 && read != src.Size {
		return treeSize{}, &unverifiedError{invalid("%d bytes: its descriptor says %d", read, src.Size)}
	}
	if blobHash != nil && src.Blob.sum(blobHash) != src.Blob {
		return treeSize{}, &unverifiedError{invalid("its bytes have the digest %s, not %s", src.Blob.sum(blobHash), src.Blob)}
	}
	size.diffID = src.DiffID.sum(tarHash)
	if !src.DiffID.IsZero() && size.diffID != src.DiffID {
		return treeSize{}, invalid("its tar has the diffID %s, not what the config says", size.diffID)
	}
	if size.headers, size.noHeaders, err = s.endHeaders(keep, headers); err != nil {
		return treeSize{}, fmt.Errorf("keep its headers: %w", err)
	}
	size.bytes, size.tar = size.bytes+size.headers, keep.n
	src.report(LayerProgress{Read: read, Entries: size.entries, Done: true})
	return size, nil
}

// openTree opens the directory that a layer goes into, as the root of a mount of its own that nothing of the machine is visible in: even a lookup gone wrong has
// nowhere to go (CVE-2026-17106). No device or program of the layer can be used through it.
func (s *Store) openTree(dir string) (*os.File, error) {
	f, err := s.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	tree, _, err := mount.Bind(procFD(int(f.Fd())), mount.BindOptions{NoSuid: true, NoDev: true, NoExec: true})
	return tree, err
}

// meter is a layer's source: it counts what comes. It ends with the context, and at most bytes: who sends more than was announced is not read on.
type meter struct {
	ctx  context.Context
	r    io.ReadCloser
	n    atomic.Int64
	most int64 // -1: no limit
}

func (m *meter) Read(p []byte) (int, error) {
	if m.ctx.Err() != nil {
		return 0, context.Cause(m.ctx)
	}
	n, err := m.r.Read(p)
	if total := m.n.Add(int64(n)); m.most >= 0 && total > m.most {
		err = invalid("more than the %d bytes its descriptor says", m.most)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = &sourceError{err}
	}
	return n, err
}

func (m *meter) Close() error { return m.r.Close() }

// sourceError is a source that failed, and not a layer that is malformed: decoders wrap both in their own words.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return "read: " + e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// unverifiedError is about bytes that need not be the blob's, since their digest is wrong or wasn't reached.
type unverifiedError struct{ error }

func (e *unverifiedError) Unwrap() error { return e.error }

// explain gives what an error of some step comes from: the context, the source, or else the bytes.
func explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var source *sourceError
	if errors.As(err, &source) {
		err = source
	}
	if errors.Is(err, ErrInvalid) {
		return &unverifiedError{err}
	}
	return err
}
