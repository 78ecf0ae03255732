package image

import (
	"fmt"
)

// Holds say which images are in use. They live in memory only: the truth are the containers' own records, from which a new podlet makes them again.

// Hold keeps the image that ref names on the disk for holder, a container's id, until Release(holder). ref is as in Get; an id also finds an image that was
// removed while in use, so that a new podlet can hold it again. A holder has one image: holding another lets go of the first.
func (s *Store) Hold(ref, holder string) (Image, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.findLocked(ref)
	if err != nil {
		if id, bad := ParseDigest(ref); bad == nil && s.mu.images[id] != nil {
			i, err = s.mu.images[id], nil
		}
	}
	if err != nil {
		return Image{}, err
	}
	s.mu.holds[holder] = i.ID
	return s.viewLocked(i), nil
}

// Release ends what Hold began; an unknown holder is no error. If the image was removed meanwhile and this was its last holder, its layers are freed.
func (s *Store) Release(holder string) {
	s.mu.Lock()
	id, ok := s.mu.holds[holder]
	delete(s.mu.holds, holder)
	i := s.mu.images[id]
	removed := i != nil && i.Removed
	s.mu.Unlock()
	if ok && removed {
		s.free()
	}
}

// HoldsComplete tells the store that every container of before has its Hold again. Until then an image is freed by nothing: who removes it
// unnames it only. Afterwards the images that were removed while in use and that nobody holds are freed.
func (s *Store) HoldsComplete() {
	s.mu.Lock()
	s.mu.holdsComplete = true
	s.mu.Unlock()
	s.free()
}

// InUse reports whether some holder has the image.
func (s *Store) InUse(id Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inUseLocked(id)
}

func (s *Store) inUseLocked(id Digest) bool {
	for _, held := range s.mu.holds {
		if held == id {
			return true
		}
	}
	return false
}

func (s *Store) free() {
	s.commit.Lock()
	left := s.collect()
	s.commit.Unlock()
	s.removeAll(left)
}

// Remove removes the image that ref names (as in Get), with all its names, as CRI's RemoveImage wants it. It is gone from List and Get at once. In
// use by a holder, its layers stay until the last one releases it; else they are freed before Remove returns. The error is ErrNotFound where there is no such image.
func (s *Store) Remove(ref string) error {
	s.commit.Lock()
	left, err := s.removeImage(ref)
	s.commit.Unlock()
	s.removeAll(left)
	return err
}

// removeImage is Remove with commit held.
func (s *Store) removeImage(ref string) (left []string, err error) {
	s.mu.Lock()
	i, err := s.findLocked(ref)
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	removed := *i
	removed.Removed, removed.Tags, removed.RepoDigests = true, nil, nil
	keep := s.inUseLocked(i.ID) || !s.mu.holdsComplete
	s.mu.images[i.ID] = &removed
	s.mu.Unlock()
	if !keep {
		return s.collect(), nil
	}
	// A full disk can't take the record. Then only this process knows that the image is removed, and the kubelet asks the next one again.
	s.step("removal to be recorded")
	if err := s.saveRecord(&removed); err != nil {
		s.log.Warn("image removed while in use, which the disk can't be told", "image", i.ID, "err", err)
	}
	return nil, nil
}

func (s *Store) saveRecord(i *imageState) error {
	if err := writeRecord(s.root, i.dir()+"/"+fileRecord, s.newTmp(), &i.imageRecord); err != nil {
		return fmt.Errorf("image %s: write its record: %w", i.ID, err)
	}
	return nil
}
