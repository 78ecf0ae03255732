package image

import (
	"errors"
	"testing"
)

// TestRemove: with all names at once, as CRI wants it, and the layers go that no other image has.
func TestRemove(t *testing.T) {
	s := newStore(t)
	first, second := twoImages(t)
	first.Names = []string{"podlet.test/a:1", "other.test/a:2"}
	a := importImage(t, s, first)
	b := importImage(t, s, second)
	before := s.FsInfo()
	must(t, s.Remove("other.test/a:2"))
	for _, ref := range []string{"podlet.test/a:1", "other.test/a:2", a.ID.String()} {
		if _, err := s.Get(ref); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", ref, err)
		}
	}
	if err := s.Remove("podlet.test/a:1"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if after := s.FsInfo(); after.Inodes >= before.Inodes {
		t.Errorf("%+v, then %+v", before, after)
	}
	for _, dir := range b.LayerDirs() {
		lstat(t, dir)
	}
	checkStore(t, s)
	must(t, s.Remove(b.ID.String()))
	if got := s.FsInfo(); got.Bytes != 0 || got.Inodes != 0 || len(s.List()) != 0 {
		t.Errorf("%+v", got)
	}
	checkStore(t, s)
}

// TestRemoveInUse: gone from sight at once, and from the disk when the last holder goes; a restart in between changes nothing.
func TestRemoveInUse(t *testing.T) {
	s := newStore(t)
	i := simple(t, "podlet.test/held:1", "x")
	img := importImage(t, s, i)
	for _, holder := range []string{"c1", "c2"} {
		if held, err := s.Hold("podlet.test/held:1", holder); err != nil || held.ID != img.ID {
			t.Fatal(err)
		}
	}
	must(t, s.Remove(img.ID.String()))
	if _, err := s.Get(img.ID.String()); !errors.Is(err, ErrNotFound) || len(s.List()) != 0 {
		t.Errorf("still seen: %v", err)
	}
	if !s.InUse(img.ID) {
		t.Error("not in use")
	}
	if _, err := s.Hold("podlet.test/held:1", "c3"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a new container could use it by name: %v", err)
	}
	_, err := s.Users(img.ID)
	must(t, err)
	s.Release("c1")
	s.Release("unknown")
	lstat(t, img.LayerDirs()[0])
	checkStore(t, s)

	// A new podlet makes its holds before it says that they are complete.
	must(t, s.Close())
	closedStores.Store(s, true)
	s, err = open(s.path, "boot-1")
	must(t, err)
	defer s.Close()
	lstat(t, img.LayerDirs()[0])
	if _, err := s.Hold(img.ID.String(), "c2"); err != nil {
		t.Fatal(err)
	}
	s.HoldsComplete()
	lstat(t, img.LayerDirs()[0])
	s.Release("c2")
	if s.FsInfo().Inodes != 0 {
		t.Error("layers outlive the last holder")
	}
	checkStore(t, s)

	// Imported again while held: it is an image like any other again.
	importImage(t, s, i)
	_, err = s.Hold(img.ID.String(), "c4")
	must(t, err)
	must(t, s.Remove(img.ID.String()))
	importImage(t, s, i)
	s.Release("c4")
	if _, err := s.Get("podlet.test/held:1"); err != nil {
		t.Error(err)
	}
	checkStore(t, s)
}

// TestHoldsNotComplete: before the holds are known, nothing that may be in use is freed.
func TestHoldsNotComplete(t *testing.T) {
	s := newStore(t)
	img := importImage(t, s, simple(t, "podlet.test/early:1", "x"))
	must(t, s.Close())
	closedStores.Store(s, true)
	s, err := open(s.path, "boot-1")
	must(t, err)
	defer s.Close()
	must(t, s.Remove(img.ID.String()))
	lstat(t, img.LayerDirs()[0])
	s.HoldsComplete()
	if s.FsInfo().Inodes != 0 {
		t.Error("nobody holds it")
	}
	checkStore(t, s)
}
