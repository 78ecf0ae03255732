package registry

import (
	"sync"
	"sync/atomic"

	"podlet/internal/image"
)

// Progress is how far a pull is.
type Progress struct {
	// Layers are those of the image, the lowest first; none until its manifest is known.
	Layers []LayerProgress `json:"layers"`
}

// LayerProgress is how far one layer is.
type LayerProgress struct {
	Digest image.Digest `json:"digest"`
	// Size and Read are bytes as the registry has them.
	Size int64 `json:"size"`
	Read int64 `json:"read"`
	// Entries are files, directories and the like that were written.
	Entries int64 `json:"entries"`
	// Done: it is complete. Shared: the store had it, or another pull makes it.
	Done   bool `json:"done"`
	Shared bool `json:"shared"`
}

// progress is the one of a pull under way.
type progress struct {
	mu     sync.Mutex
	layers []*layerCount // one for each blob
}

// layerCount is a layer's. read is counted for every packet; the rest is guarded by progress.mu.
type layerCount struct {
	LayerProgress
	read atomic.Int64
}

// countLocked gives the layer with the blob, nil for what is none.
func (p *progress) countLocked(blob image.Digest) *layerCount {
	for _, l := range p.layers {
		if l.Digest == blob {
			return l
		}
	}
	return nil
}

// read gives where to count the bytes of a blob.
func (p *progress) read(blob image.Digest) *atomic.Int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.countLocked(blob); l != nil {
		return &l.read
	}
	return new(atomic.Int64) // the config's, which nobody asks for
}

// tell takes what the image store says of a layer, and gives how many more entries it wrote than it had told before.
func (p *progress) tell(l image.LayerProgress) (fresh int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.countLocked(l.Blob)
	if c == nil {
		c = &layerCount{LayerProgress: LayerProgress{Digest: l.Blob, Size: l.Size}}
		p.layers = append(p.layers, c)
	}
	fresh = max(l.Entries-c.Entries, 0)
	c.Entries += fresh
	c.Done = c.Done || l.Done
	c.Shared = c.Shared || l.Shared
	return fresh
}

func (p *progress) now() Progress {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := Progress{Layers: []LayerProgress{}}
	for _, l := range p.layers {
		layer := l.LayerProgress
		layer.Read = l.read.Load()
		now.Layers = append(now.Layers, layer)
	}
	return now
}
