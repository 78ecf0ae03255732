package image

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"path"
)

// newTmp gives a free name in tmp.
func (s *Store) newTmp() string { return path.Join(dirTmp, s.nonce+rand.Text()) }

// discard removes a file or tree of the store's own. Where it can it is moved aside first, so that its name is free at once and no half-removed thing
// bears it; with no space left for that it is removed in its place. The returned name is what is left to remove: "" for nothing.
func (s *Store) discard(name string) (left string, err error) {
	aside := s.newTmp()
	err = s.root.Rename(name, aside)
	switch {
	case err == nil:
		return aside, nil
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	}
	// The record goes first: without it Open takes nothing for complete.
	s.root.Remove(path.Join(name, fileRecord))
	return "", s.root.RemoveAll(name)
}

// removeAll removes what discard left.
func (s *Store) removeAll(names []string) {
	for _, name := range names {
		if err := s.root.RemoveAll(name); err != nil {
			s.log.Error("can't remove; tried again at the next start", "path", name, "err", err)
			s.mu.Lock()
			s.mu.unremoved = append(s.mu.unremoved, name)
			s.mu.Unlock()
		}
	}
}

// sweepTmp removes what lay in tmp at Open. Trees can be large, so it runs behind Open's back.
func (s *Store) sweepTmp(ctx context.Context, names []string) {
	defer close(s.swept)
	for _, name := range names {
		if ctx.Err() != nil {
			return
		}
		s.removeAll([]string{name})
	}
}
