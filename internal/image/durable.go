package image

import (
	"context"
	"path"
)

const fileDurable = "durable"

// wakeSync asks for a round of syncLayers. That is done for a whole image, not after each layer: one that no image lists is thrown away by the next
// Open anyway, and a file system that is being synced makes files slowly.
func (s *Store) wakeSync() {
	select {
	case s.sync <- struct{}{}:
	default:
	}
}

// syncLayers marks layers durable. Renaming a layer to its place orders the name, not the data: for half a minute a power cut leaves names of empty
// files (containerd#5854). One syncfs(2) covers every layer that appeared before it; nobody waits for it, and no container's own files are synced by name.
func (s *Store) syncLayers(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			// "podlet image import" ends here, and the next to open the store may be the next boot.
			s.syncOnce()
			return
		case <-s.sync:
			s.syncOnce()
		}
	}
}

func (s *Store) syncOnce() {
	fresh := map[Digest]int{}
	s.mu.Lock()
	for id, l := range s.mu.layers {
		if !l.durable && !l.unsure {
			fresh[id] = l.changes
		}
	}
	s.mu.Unlock()
	if len(fresh) == 0 {
		return
	}
	if err := s.syncfs(int(s.lock.Fd())); err != nil {
		// The kernel tells it once and forgets what it could not write: the next syncfs would succeed, and say nothing of these layers.
		s.log.Error("syncfs failed: these layers never get their durable mark, and are pulled again after the next boot", "layers", len(fresh), "err", err)
		s.mu.Lock()
		for id := range fresh {
			if l := s.mu.layers[id]; l != nil {
				l.unsure = true
			}
		}
		s.mu.Unlock()
		return
	}
	for id, changes := range fresh {
		s.markDurable(id, changes)
	}
	// The marks would reach the disk by themselves, some seconds later. After the first of these the others have little to do.
	for id := range fresh {
		s.syncMark(id)
	}
}

// syncMark: until the mark itself is on the disk, a power cut has the layer thrown away for nothing, which is harmless.
func (s *Store) syncMark(id Digest) {
	dir, err := s.root.Open(layerDir(id))
	if err != nil {
		return // removed meanwhile
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		s.log.Warn("can't sync a layer's durable mark: after a power cut in the next seconds it may have to be pulled again", "layer", id, "err", err)
	}
}

func (s *Store) markDurable(id Digest, changes int) {
	s.commit.Lock()
	defer s.commit.Unlock()
	s.mu.Lock()
	l := s.mu.layers[id]
	s.mu.Unlock()
	if l == nil || l.durable || l.changes != changes {
		return
	}
	if err := writeFile(s.root, path.Join(l.dir(), fileDurable), nil); err != nil {
		s.log.Error("can't mark layer durable", "layer", id, "err", err)
		return
	}
	s.mu.Lock()
	l.durable = true
	s.mu.Unlock()
}
