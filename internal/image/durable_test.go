package image

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// waitDurable waits for a syncfs, which takes as long as the disk needs for whatever anybody on the machine has written.
func waitDurable(t testing.TB, s *Store) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); ; {
		s.mu.Lock()
		all := true
		for _, l := range s.mu.layers {
			all = all && l.durable
		}
		s.mu.Unlock()
		if all {
			return
		}
		if time.Now().After(end) {
			t.Fatal("never durable")
		}
		time.Sleep(time.Millisecond)
	}
}

// TestPowerCut: a layer that was not seen on the disk before the machine went down is thrown away with its images; the others stay (containerd#5854).
func TestPowerCut(t *testing.T) {
	s := newStore(t)
	first, second := twoImages(t)
	second.Names = []string{"podlet.test/second:1"}
	a := importImage(t, s, first)
	waitDurable(t, s)
	b := importImage(t, s, second)
	// Restarts in the same boot lose nothing, durable or not.
	waitDurable(t, s)
	fresh := s.mu.images[b.ID].Layers[1]
	must(t, s.Close())
	closedStores.Store(s, true)
	must(t, os.Remove(filepath.Join(s.path, layerDir(fresh), fileDurable)))
	s, err := open(s.path, "boot-2")
	must(t, err)
	defer s.Close()
	s.HoldsComplete()
	if _, err := s.Get(b.ID.String()); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	lost := s.Lost()
	if len(lost) != 1 || lost[0].ID != b.ID || len(lost[0].Tags) != 1 || lost[0].Tags[0] != "podlet.test/second:1" {
		t.Errorf("%+v", lost)
	}
	if _, err := s.Get(a.ID.String()); err != nil {
		t.Error(err)
	}
	checkStore(t, s)
	again := importImage(t, s, second)
	if again.ID != b.ID {
		t.Error(again.ID)
	}
	checkStore(t, s)
}

// TestCloseMakesDurable: what one process imported and closed survives a reboot, though no other one had the store open in between.
func TestCloseMakesDurable(t *testing.T) {
	s := newStore(t)
	img := importImage(t, s, simple(t, "podlet.test/baked:1", "x"))
	s = reopen(t, s, "boot-2")
	if _, err := s.Get(img.ID.String()); err != nil {
		t.Error(err)
	}
}

// TestSyncFails: what a syncfs that failed was about never counts as durable, though the next one succeeds: the kernel tells a lost write once.
func TestSyncFails(t *testing.T) {
	s := newStore(t)
	fail := atomic.Bool{}
	fail.Store(true)
	failed := make(chan struct{}, 1)
	s.syncfs = func(int) error {
		if !fail.Load() {
			return nil
		}
		failed <- struct{}{}
		return unix.EIO
	}
	lost := importImage(t, s, simple(t, "podlet.test/lost:1", "lost"))
	<-failed
	fail.Store(false)
	kept := importImage(t, s, simple(t, "podlet.test/kept:1", "kept"))
	s = reopen(t, s, "boot-2") // Close syncs once more
	if _, err := s.Get(lost.ID.String()); !errors.Is(err, ErrNotFound) {
		t.Errorf("after a failed sync and a power cut: %v", err)
	}
	if _, err := s.Get(kept.ID.String()); err != nil {
		t.Error(err)
	}
}

// TestSameBootKeeps: without a mark, but in the boot that unpacked it, a layer is good, and is marked then.
func TestSameBootKeeps(t *testing.T) {
	s := newStore(t)
	img := importImage(t, s, simple(t, "podlet.test/keeps:1", "x"))
	waitDurable(t, s)
	mark := filepath.Join(filepath.Dir(img.LayerDirs()[0]), fileDurable)
	must(t, s.Close())
	closedStores.Store(s, true)
	must(t, os.Remove(mark))
	s = openStore(t, s.path, "boot-1")
	if _, err := s.Get(img.ID.String()); err != nil {
		t.Error(err)
	}
	waitDurable(t, s)
	lstat(t, mark)
}
