package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
)

const (
	fileRecord = "record"
	dirDiff    = "diff"
)

// layerRecord is what the disk knows of a layer.
type layerRecord struct {
	DiffID Digest `json:"diffID"`
	// Form says what the layer is on the disk. "" is a tree that overlayfs takes as it is; there is no other yet (docs/images.md), and one of a later podlet is thrown away.
	Form string `json:"form,omitempty"`
	// Bytes and Inodes are what the tree takes on the disk, counted as it was unpacked.
	Bytes  int64 `json:"bytes"`
	Inodes int64 `json:"inodes"`
	// OpaqueRoot: the layer hides all layers below it (a whiteout of everything in the root directory, where overlayfs reads no mark).
	OpaqueRoot bool `json:"opaqueRoot,omitempty"`
	// Implicit: see settleLayers; empty once that was done.
	Implicit [][]byte `json:"implicit,omitempty"`
	// Headers is the size of the file with the tar's headers (headers.go), in bytes; 0: there is none, for the reason NoHeaders, or because an older podlet kept none.
	Headers   int64     `json:"headers,omitempty"`
	NoHeaders string    `json:"noHeaders,omitempty"`
	TarBytes  int64     `json:"tarBytes,omitempty"` // of the uncompressed tar
	Boot      string    `json:"boot"`
	Unpacked  time.Time `json:"unpacked"`
}

// layerState is a complete layer. The fields beside the record are guarded by Store.mu.
type layerState struct {
	layerRecord
	durable bool // changed with Store.commit held as well
	unsure  bool // a sync failed that was about it
	changes int  // of a layer that was there: what was synced before one doesn't make it durable
	pins    int  // imports under way that need it
}

func (l *layerState) dir() string { return layerDir(l.DiffID) }

func layerDir(id Digest) string { return path.Join(dirLayers, id.Hex()) }

// flight is a layer being unpacked; done is closed when it ends, well or not.
type flight struct{ done chan struct{} }

// LayerSource says what a layer is and where its bytes come from.
type LayerSource struct {
	// DiffID is the digest of the uncompressed tar, as the image's config has it.
	DiffID Digest
	// Blob is the digest of the bytes as they come, zero where nobody told it (docker-archive). Size is their number, -1 where unknown.
	Blob Digest
	Size int64
	// Open begins to read them: a tar, plain or compressed with gzip or zstd. It is not called where the store has the layer already, and once at most.
	// A Read that waits must end with ctx. Another goroutine than the caller's may read and close.
	Open func(ctx context.Context) (io.ReadCloser, error)
	// Progress, if set, is told how far the layer is, from the calling goroutine, about every MiB read or thousand entries written, and at its end.
	Progress func(LayerProgress)
}

// LayerProgress is how far one layer is.
type LayerProgress struct {
	DiffID Digest
	// Blob is the digest of its bytes as they come, zero where nobody told it.
	Blob Digest `json:",omitzero"`
	// Read are bytes of the source, Size their total or -1; Entries are files, directories and the like written.
	Read, Size, Entries int64
	// Done: the layer is complete. Shared: the store had it, or another import made it.
	Done, Shared bool
}

// Pins keeps layers from being freed while no image lists them yet. It is made by [Store.Pins] and ended by Release.
type Pins struct {
	s      *Store
	layers []Digest // guarded by s.mu
}

// Pins begins a set of layers that an import or a pull works on.
func (s *Store) Pins() *Pins { return &Pins{s: s} }

// Release lets go of the layers; those that no image lists and nobody else pins are removed.
func (p *Pins) Release() {
	p.s.mu.Lock()
	for _, id := range p.layers {
		if l := p.s.mu.layers[id]; l != nil {
			l.pins--
		}
	}
	p.layers = nil
	p.s.mu.Unlock()
	p.s.commit.Lock()
	left := p.s.collect()
	p.s.commit.Unlock()
	p.s.removeAll(left)
}

// EnsureLayer makes sure that the store has the layer, and pins it. Its bytes are unpacked as they are read, straight into the directory that overlayfs will
// take; both digests are verified before the layer becomes visible. Two callers of one layer share the work: the second waits for the first, and does it itself
// should the first fail. On an error, cancelling included, nothing is left.
func (s *Store) EnsureLayer(ctx context.Context, pins *Pins, src LayerSource) error {
	for {
		shared, wait := s.claim(pins, src.DiffID)
		if shared {
			src.report(LayerProgress{Done: true, Shared: true})
			return nil
		}
		if wait == nil {
			break
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return fmt.Errorf("layer %s, being unpacked by another import: %w", src.DiffID, context.Cause(ctx))
		}
	}
	defer s.land(src.DiffID)
	if err := s.addLayer(ctx, pins, src); err != nil {
		return fmt.Errorf("layer %s: %w", src.DiffID, err)
	}
	return nil
}

// land ends a flight.
func (s *Store) land(id Digest) {
	s.mu.Lock()
	f := s.mu.flights[id]
	delete(s.mu.flights, id)
	s.mu.Unlock()
	close(f.done)
}

// claim pins the layer if it is there; else it gives what to wait for, or nil to the one who is to make it.
func (s *Store) claim(pins *Pins, id Digest) (shared bool, wait <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.mu.layers[id]; l != nil {
		l.pins++
		pins.layers = append(pins.layers, id)
		return true, nil
	}
	if f := s.mu.flights[id]; f != nil {
		return false, f.done
	}
	s.mu.flights[id] = &flight{done: make(chan struct{})}
	return false, nil
}

func (src *LayerSource) report(p LayerProgress) {
	if src.Progress == nil {
		return
	}
	p.DiffID, p.Blob, p.Size = src.DiffID, src.Blob, src.Size
	src.Progress(p)
}

// ensureUnnamed is EnsureLayer for a layer whose diffID nobody knows before it is unpacked: it is what comes out. What makes the bytes must verify them.
func (s *Store) ensureUnnamed(ctx context.Context, pins *Pins, src LayerSource) (Digest, error) {
	tmp, l, err := s.makeLayer(ctx, src)
	if err != nil {
		return Digest{}, err
	}
	for {
		shared, wait := s.claim(pins, l.DiffID)
		if shared {
			s.removeAll([]string{tmp})
			return l.DiffID, nil
		}
		if wait == nil {
			break
		}
		select {
		case <-wait:
		case <-ctx.Done():
			s.removeAll([]string{tmp})
			return Digest{}, context.Cause(ctx)
		}
	}
	defer s.land(l.DiffID)
	return l.DiffID, s.placeLayer(pins, tmp, l)
}

// addLayer unpacks aside, verifies, and puts the layer in its place.
func (s *Store) addLayer(ctx context.Context, pins *Pins, src LayerSource) error {
	tmp, l, err := s.makeLayer(ctx, src)
	if err != nil {
		return err
	}
	return s.placeLayer(pins, tmp, l)
}

// makeLayer unpacks and verifies a layer in tmp, of which nothing is left on an error.
func (s *Store) makeLayer(ctx context.Context, src LayerSource) (made string, l *layerState, err error) {
	tmp := s.newTmp()
	complete := false
	defer func() {
		// A decoder's panic is one import's failure, not the daemon's end (CVE-2026-95839).
		if p := recover(); p != nil {
			s.log.Error("panic while unpacking", "layer", src.DiffID, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("unpacking: %w: %v", ErrPanic, p)
		}
		if !complete {
			s.removeAll([]string{tmp})
		}
	}()
	if err := s.root.Mkdir(tmp, 0o700); err != nil {
		return "", nil, err
	}
	s.step("layer begun")
	tree, err := s.unpackInto(ctx, path.Join(tmp, dirDiff), src)
	if err != nil {
		return "", nil, err
	}
	l = &layerState{pins: 1, layerRecord: layerRecord{
		DiffID: tree.diffID, Bytes: tree.bytes, Inodes: tree.inodes, OpaqueRoot: tree.opaqueRoot, Implicit: tree.implicit,
		Headers: tree.headers, NoHeaders: tree.noHeaders, TarBytes: tree.tar,
		Boot: s.boot, Unpacked: time.Now().UTC(),
	}}
	s.step("layer unpacked")
	data, err := encodeRecord(&l.layerRecord)
	if err != nil {
		return "", nil, err
	}
	if err := writeFile(s.root, path.Join(tmp, fileRecord), data); err != nil {
		return "", nil, err
	}
	s.step("layer recorded")
	complete = true
	return tmp, l, nil
}

// placeLayer makes the layer in tmp visible, pinned.
func (s *Store) placeLayer(pins *Pins, tmp string, l *layerState) error {
	complete := false
	defer func() {
		if !complete {
			s.removeAll([]string{tmp})
		}
	}()
	s.commit.Lock()
	defer s.commit.Unlock()
	if err := s.root.Rename(tmp, l.dir()); errors.Is(err, fs.ErrExist) || errors.Is(err, unix.ENOTEMPTY) {
		// Debris that discard couldn't move: no layer the store knows has this name.
		if err := s.root.RemoveAll(l.dir()); err != nil {
			return err
		}
		if err := s.root.Rename(tmp, l.dir()); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	complete = true
	s.step("layer in place")
	s.mu.Lock()
	s.mu.layers[l.DiffID] = l
	pins.layers = append(pins.layers, l.DiffID)
	s.mu.Unlock()
	return nil
}

// collect takes layers that nobody needs off the store, and images that were removed while in use and aren't any more. The caller holds commit (or is
// Open) and gives the result to removeAll, without commit: trees can be large.
func (s *Store) collect() (left []string) {
	var gone []string
	s.mu.Lock()
	held := map[Digest]bool{}
	for _, id := range s.mu.holds {
		held[id] = true
	}
	needed := map[Digest]bool{}
	for id, img := range s.mu.images {
		if img.Removed && !held[id] && s.mu.holdsComplete {
			delete(s.mu.images, id)
			gone = append(gone, img.dir())
			continue
		}
		for _, l := range img.Layers {
			needed[l] = true
		}
	}
	for id, l := range s.mu.layers {
		if l.pins == 0 && !needed[id] {
			delete(s.mu.layers, id)
			gone = append(gone, l.dir())
		}
	}
	s.mu.Unlock()
	// Images stand first in gone: an image disappears before its layers.
	for _, name := range gone {
		aside, err := s.discard(name)
		if err != nil {
			s.log.Error("can't remove; tried again at the next start", "path", name, "err", err)
		}
		if aside != "" {
			left = append(left, aside)
		}
		s.step("taken off")
	}
	return left
}
