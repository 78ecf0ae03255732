package mount

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// workshopMounts reads the mount table of the workshop's thread.
func workshopMounts(t *testing.T, w *workshop) string {
	t.Helper()
	var tid int
	must(t, w.do(func() error { tid = unix.Gettid(); return nil }))
	return read(t, "/proc/self/task/"+itoa(tid)+"/mountinfo")
}

func TestWorkshopHoldsNothingOfTheHost(t *testing.T) {
	m := newMounter(t, WayWorkshop)
	w, err := m.workshop()
	must(t, err)
	before := workshopMounts(t, w)
	if n := strings.Count(before, "\n"); n != 4 {
		t.Errorf("%d mounts, want root, blank, empty, nulls:\n%s", n, before)
	}
	f, err := m.Overlay(layers(t, 3))
	must(t, err)
	defer f.Close()
	if after := workshopMounts(t, w); after != before {
		t.Errorf("left on the bench:\n%s", after)
	}
	_, err = m.Overlay(OverlayConfig{Lower: []string{"/proc", "/proc"}})
	if err == nil {
		t.Error("an overlay of proc on itself was mounted")
	}
	if after := workshopMounts(t, w); after != before {
		t.Errorf("left on the bench by a failure:\n%s", after)
	}
}

// The process's first thread is what everybody sees as /proc/self: it must stay in the host's namespace.
func TestWorkshopLeavesTheFirstThread(t *testing.T) {
	before, err := os.Readlink("/proc/self/ns/mnt")
	must(t, err)
	namespaces := mountNamespaces()
	w := &workshop{jobs: make(chan job), closing: make(chan struct{}), ended: make(chan struct{})}
	ready := make(chan error, 1)
	onFirstThread(func() {
		if unix.Gettid() != unix.Getpid() {
			t.Error("this is not the first thread")
		}
		w.thread(ready)
	})
	must(t, <-ready)
	after, err := os.Readlink("/proc/self/ns/mnt")
	must(t, err)
	if after != before {
		t.Error("the first thread went into the workshop")
	}
	if n := strings.Count(workshopMounts(t, w), "\n"); n != 4 {
		t.Errorf("the workshop has %d mounts", n)
	}
	closeWorkshop(namespaces, w.close)
}

func TestClosed(t *testing.T) {
	eachWay(t, cloneDetached, func(t *testing.T, m *Mounter) {
		f, err := m.MaskDir()
		must(t, err)
		must(t, f.Close())
		must(t, m.Close())
		must(t, m.Close())
		if f, err := m.MaskDir(); !errors.Is(err, errClosed) {
			t.Errorf("a mask of a closed Mounter: %v, %v", f, err)
		}
		if m.way != WayWorkshop {
			return
		}
		if _, err := m.Overlay(layers(t, 2)); !errors.Is(err, errClosed) {
			t.Errorf("an overlay of a closed Mounter: %v", err)
		}
	})
}
