package image

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

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
	blob, err := src.Open(ctx)
	if err != nil {
		return treeSize{}, err
	}
	defer blob.Close()

	in := &meter{ctx: ctx, r: blob, most: src.Size}
	if !src.Blob.IsZero() {
		in.hash = src.Blob.newHash()
	}
	plain, err := decompress(in)
	if err != nil {
		return treeSize{}, err
	}
	defer plain.Close()
	out := &meter{ctx: ctx, r: plain, most: -1, hash: src.DiffID.newHash()}
	size, err := unpack(ctx, out, tree, func(entries int64) {
		src.report(LayerProgress{Read: in.n, Entries: entries})
	})
	if err != nil {
		return treeSize{}, in.explain(err)
	}
	// What follows the archive's end belongs to the digests too.
	if _, err := io.Copy(io.Discard, out); err != nil {
		return treeSize{}, in.explain(invalid("after the tar's end: %w", err))
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return treeSize{}, in.explain(err)
	}
	if src.Size >= 0 && in.n != src.Size {
		return treeSize{}, invalid("%d bytes: its descriptor says %d", in.n, src.Size)
	}
	if in.hash != nil && src.Blob.sum(in.hash) != src.Blob {
		return treeSize{}, invalid("its bytes have the digest %s, not %s", src.Blob.sum(in.hash), src.Blob)
	}
	if got := src.DiffID.sum(out.hash); got != src.DiffID {
		return treeSize{}, invalid("its tar has the diffID %s, not what the config says", got)
	}
	src.report(LayerProgress{Read: in.n, Entries: size.entries, Done: true})
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

// meter counts and hashes what passes. It ends with the context, and at most bytes: who sends more than was announced is not read on.
type meter struct {
	ctx  context.Context
	r    io.Reader
	n    int64
	most int64 // -1: no limit
	hash hash.Hash
	err  error // what ended it, but for io.EOF
}

func (m *meter) Read(p []byte) (int, error) {
	if m.ctx.Err() != nil {
		return 0, context.Cause(m.ctx)
	}
	n, err := m.r.Read(p)
	m.n += int64(n)
	if m.hash != nil {
		m.hash.Write(p[:n])
	}
	if m.most >= 0 && m.n > m.most {
		err = invalid("more than the %d bytes its descriptor says", m.most)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		m.err = err
	}
	return n, err
}

// explain tells a source that failed from a layer that is malformed: decoders wrap both in their own words.
func (m *meter) explain(err error) error {
	if m.ctx.Err() != nil {
		return context.Cause(m.ctx)
	}
	if m.err != nil {
		return fmt.Errorf("read: %w", m.err)
	}
	return err
}
