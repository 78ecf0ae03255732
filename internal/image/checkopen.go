package image

import (
	"context"
	"fmt"
	"path"
	"strings"
)

// Check is the function of that name for a store that is open: images may be pulled, removed and used meanwhile. Of what is under way it says nothing.
func (s *Store) Check(ctx context.Context, o CheckOptions) (*CheckReport, error) {
	report, err := s.look(ctx, o)
	if err != nil || !o.Repair || report.Wrong() == 0 {
		return report, err
	}
	s.repair(report)
	after, err := s.look(ctx, CheckOptions{Deep: o.Deep, Progress: o.Progress})
	if err != nil {
		return nil, err
	}
	report.mended(after)
	return report, nil
}

func (s *Store) look(ctx context.Context, o CheckOptions) (*CheckReport, error) {
	select {
	case <-s.swept: // of what Open found
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	pins := s.Pins()
	defer pins.Release()
	live, err := s.inUse(pins)
	if err != nil {
		return nil, fmt.Errorf("check image store %s: %w", s.path, err)
	}
	c := checker{s: s, ctx: ctx, o: o}
	report, err := c.run(live)
	if err != nil {
		return nil, fmt.Errorf("check image store %s: %w", s.path, err)
	}
	return report, nil
}

// inUse looks at directories and tables at one moment, and pins all layers.
func (s *Store) inUse(pins *Pins) (*inUse, error) {
	s.commit.Lock()
	defer s.commit.Unlock()
	names, err := s.survey()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	live := &inUse{names: names, needed: map[Digest]bool{}, images: map[string][]Digest{}, unseen: map[Digest]bool{}}
	for id, l := range s.mu.layers {
		live.needed[id] = l.pins > 0
		l.pins++
		pins.layers = append(pins.layers, id)
	}
	for id, i := range s.mu.images {
		live.images[i.dir()] = i.Layers
		if i.Removed && s.mu.holdsComplete && !s.inUseLocked(id) {
			live.unseen[id] = true
		}
	}
	stuck := map[string]bool{}
	for _, name := range s.mu.unremoved {
		stuck[name] = true
	}
	live.own = func(name string) bool { return strings.HasPrefix(path.Base(name), s.nonce) && !stuck[name] }
	return live, nil
}

// repair throws away what the report says is damaged, with the images that need it, and removes what nobody needs.
func (s *Store) repair(r *CheckReport) {
	for i := range r.Findings {
		f := &r.Findings[i]
		switch {
		case !f.layer.IsZero():
			f.Kept = s.dropLayer(f.layer)
		case f.image != "":
			f.Kept = s.dropImage(f.image)
		case f.Kind == Orphan && strings.HasPrefix(f.path, dirTmp+"/"):
			s.removeAll([]string{f.path})
		case f.Kind == Orphan || f.path != "":
			f.Kept = s.dropStray(f.path)
		}
	}
	s.free()
}

// dropLayer takes a damaged layer and the images that need it off the store; kept says why not.
func (s *Store) dropLayer(id Digest) (kept string) {
	s.commit.Lock()
	defer s.commit.Unlock()
	s.mu.Lock()
	l := s.mu.layers[id]
	var users []*imageState
	for _, i := range s.mu.images {
		for _, has := range i.Layers {
			if has == id {
				users = append(users, i)
				break
			}
		}
	}
	for _, i := range users {
		if s.inUseLocked(i.ID) {
			kept = "a container uses image " + i.label() + ": remove its pods first (drain the node)"
		}
	}
	if !s.mu.holdsComplete {
		kept = ErrNotComplete.Error()
	}
	if l != nil && l.pins > 0 {
		kept = "an import or a pull is using it: try again"
	}
	if kept == "" {
		delete(s.mu.layers, id)
		for _, i := range users {
			delete(s.mu.images, i.ID)
			s.mu.lost = append(s.mu.lost, Lost{ID: i.ID, Tags: i.Tags, Reason: "its layer " + id.String() + " was damaged"})
		}
	}
	s.mu.Unlock()
	if kept != "" {
		return kept
	}
	for _, i := range users {
		s.log.Warn("image thrown away: it must be pulled or imported again", "image", i.ID, "tags", i.Tags, "damaged layer", id)
		s.throwAway(i.dir())
	}
	s.throwAway(layerDir(id))
	return ""
}

// dropImage sets an image that can't be read aside.
func (s *Store) dropImage(dir string) (kept string) {
	s.commit.Lock()
	defer s.commit.Unlock()
	id, err := digestFromHex(path.Base(dir))
	if err == nil {
		s.mu.Lock()
		if !s.mu.holdsComplete {
			kept = ErrNotComplete.Error()
		} else if s.inUseLocked(id) {
			kept = "a container uses it: remove its pods first (drain the node)"
		} else {
			delete(s.mu.images, id)
		}
		s.mu.Unlock()
	}
	if kept == "" && !s.gone(dir) {
		s.quarantine(dir, fmt.Errorf("podlet image check --repair"))
	}
	return kept
}

// dropStray removes a directory of layers or images that the tables don't know; what they know, collect frees.
func (s *Store) dropStray(name string) (kept string) {
	s.commit.Lock()
	defer s.commit.Unlock()
	id, err := digestFromHex(path.Base(name))
	s.mu.Lock()
	known := err == nil && (s.mu.layers[id] != nil || s.mu.images[id] != nil)
	s.mu.Unlock()
	if !known {
		s.throwAway(name)
	}
	return ""
}

func (s *Store) throwAway(name string) {
	left, err := s.discard(name)
	if err != nil {
		s.log.Error("can't remove; tried again at the next start", "path", name, "err", err)
	}
	if left != "" {
		s.removeAll([]string{left})
	}
}
