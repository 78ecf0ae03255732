package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"time"
)

// load reads the store's directories and starts its goroutines.
func (s *Store) load() error {
	left, err := s.names(dirTmp)
	if err != nil {
		return err
	}
	more, err := s.loadLayers()
	if err != nil {
		return err
	}
	left = append(left, more...)
	if more, err = s.loadImages(); err != nil {
		return err
	}
	left = append(left, more...)
	left = append(left, s.collect()...)

	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.background(ctx, "sweep", func(ctx context.Context) { s.sweepTmp(ctx, left) })
	s.background(ctx, "sync", s.syncLayers)
	s.wakeSync()
	return nil
}

// names lists a directory of the store, as paths below its root.
func (s *Store) names(dir string) ([]string, error) {
	f, err := s.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	for i := range names {
		names[i] = path.Join(dir, names[i])
	}
	return names, nil
}

// loadLayers reads the layers' records. A layer that can't be trusted isn't worth keeping: its bytes can be had again. It gives what is to be removed.
func (s *Store) loadLayers() (left []string, err error) {
	names, err := s.names(dirLayers)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		layer, err := s.loadLayer(name)
		if err == nil {
			s.mu.layers[layer.DiffID] = layer
			continue
		}
		s.log.Warn("layer thrown away", "layer", path.Base(name), "reason", err)
		aside, err := s.discard(name)
		if err != nil {
			s.log.Error("can't remove layer", "layer", path.Base(name), "err", err)
		}
		if aside != "" {
			left = append(left, aside)
		}
	}
	return left, nil
}

func (s *Store) loadLayer(name string) (*layerState, error) {
	id, err := digestFromHex(path.Base(name))
	if err != nil {
		return nil, err
	}
	var l layerState
	if err := readRecord(s.root, path.Join(name, fileRecord), &l.layerRecord); err != nil {
		return nil, err
	}
	if l.DiffID != id {
		return nil, errors.New("its record is another layer's: " + l.DiffID.String())
	}
	if l.Form != "" {
		return nil, fmt.Errorf("it has the form %s, of a later podlet", quote(l.Form))
	}
	if fi, err := s.root.Lstat(path.Join(name, dirDiff)); err != nil || !fi.IsDir() {
		return nil, errors.Join(errors.New("its tree is missing"), err)
	}
	_, err = s.root.Lstat(path.Join(name, fileDurable))
	switch {
	case err == nil:
		l.durable = true
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case l.Boot != s.boot:
		return nil, errors.New("the machine went down before it was known to be on the disk")
	}
	return &l, nil
}

// loadImages reads the images' records.
func (s *Store) loadImages() (left []string, err error) {
	names, err := s.names(dirImages)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		img, err := s.loadImage(name)
		if err != nil {
			s.quarantine(name, err)
			continue
		}
		if missing := s.missingLayer(img); !missing.IsZero() {
			reason := "its layer " + missing.String() + " is missing"
			s.log.Warn("image must be pulled or imported again", "image", img.ID, "tags", img.Tags, "reason", reason)
			s.mu.lost = append(s.mu.lost, Lost{ID: img.ID, Tags: img.Tags, Reason: reason})
			aside, err := s.discard(name)
			if err != nil {
				s.log.Error("can't remove image", "image", img.ID, "err", err)
			}
			if aside != "" {
				left = append(left, aside)
			}
			continue
		}
		s.mu.images[img.ID] = img
	}
	s.settleNames()
	return left, nil
}

func (s *Store) missingLayer(img *imageState) Digest {
	for _, l := range img.Layers {
		if s.mu.layers[l] == nil {
			return l
		}
	}
	return Digest{}
}

// settleNames: a name moves from one image to another by two writes; a crash between them leaves it with both. The later record has it. The other one is
// told: else it would have the name again at the Open after the later image's removal, and a container would be made of an old image.
func (s *Store) settleNames() {
	owner := map[string]*imageState{}
	for _, img := range s.mu.images {
		for _, name := range img.Tags {
			if o := owner[name]; o == nil || img.Named.After(o.Named) {
				owner[name] = img
			}
		}
	}
	for _, img := range s.mu.images {
		var kept []string
		for _, name := range img.Tags {
			if owner[name] == img {
				kept = append(kept, name)
			}
		}
		if len(kept) == len(img.Tags) {
			continue
		}
		img.Tags = kept
		if err := s.saveRecord(img); err != nil {
			s.log.Warn("an image that lost a name could not be told", "image", img.ID, "err", err)
		}
	}
}

// quarantine sets an image's directory aside for a person to look at, the oldest ones making room.
func (s *Store) quarantine(name string, reason error) {
	base := path.Base(name)
	if len(base) > 160 {
		base = base[:160]
	}
	to := path.Join(dirQuarantine, base+"."+strconv.FormatInt(time.Now().UnixNano(), 36))
	s.log.Error("image record quarantined: the image must be pulled or imported again", "record", name, "to", to, "reason", reason)
	id, err := digestFromHex(path.Base(name))
	if err == nil {
		s.mu.Lock()
		s.mu.lost = append(s.mu.lost, Lost{ID: id, Reason: reason.Error()})
		s.mu.Unlock()
	}
	if err := s.root.Rename(name, to); err != nil {
		s.log.Error("can't quarantine, removing", "record", name, "err", err)
		s.removeAll([]string{name})
		return
	}
	s.pruneQuarantine()
}

func (s *Store) pruneQuarantine() {
	names, err := s.names(dirQuarantine)
	if err != nil {
		s.log.Error("can't list quarantine", "err", err)
		return
	}
	for len(names) > maxQuarantine {
		oldest := 0
		for i := range names {
			if s.modTime(names[i]).Before(s.modTime(names[oldest])) {
				oldest = i
			}
		}
		s.removeAll([]string{names[oldest]})
		names = append(names[:oldest], names[oldest+1:]...)
	}
}

func (s *Store) modTime(name string) time.Time {
	fi, err := s.root.Lstat(name)
	if err != nil {
		return time.Time{}
	}
	return fi.ModTime()
}
