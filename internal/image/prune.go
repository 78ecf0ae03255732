package image

import "slices"

// Pruned is what Prune removed.
type Pruned struct {
	Images []Image
	// Bytes is how much less the layers take now. It counts what other images shared no more.
	Bytes int64
}

// Prune removes the images that no container uses and that aren't pinned; with untaggedOnly, those of them that have no tag. Before the containers'
// holds are complete it fails with ErrNotComplete.
func (s *Store) Prune(untaggedOnly bool) (Pruned, error) {
	before := s.FsInfo().Bytes
	s.commit.Lock()
	s.mu.Lock()
	if !s.mu.holdsComplete {
		s.mu.Unlock()
		s.commit.Unlock()
		return Pruned{}, ErrNotComplete
	}
	var p Pruned
	for id, i := range s.mu.images {
		view := s.viewLocked(i)
		if i.Removed || view.Pinned || s.inUseLocked(id) || untaggedOnly && len(i.Tags) > 0 {
			continue
		}
		removed := *i
		removed.Removed, removed.Tags, removed.RepoDigests = true, nil, nil
		s.mu.images[id] = &removed
		p.Images = append(p.Images, view)
	}
	s.mu.Unlock()
	left := s.collect()
	s.commit.Unlock()
	s.removeAll(left)
	slices.SortFunc(p.Images, byID)
	p.Bytes = int64(before) - int64(s.FsInfo().Bytes)
	return p, nil
}
