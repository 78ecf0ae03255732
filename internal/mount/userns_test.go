package mount

import (
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUserNSShared(t *testing.T) {
	m := newMounter(t, WayAuto)
	a, err := m.UserNS(testIDs, testIDs)
	must(t, err)
	b, err := m.UserNS(testIDs, testIDs)
	must(t, err)
	other, err := m.UserNS([]IDMapping{{0, 200000, 10}, {10, 300000, 5}}, testIDs)
	must(t, err)
	if a != b || a == other {
		t.Error("equal mappings must share a namespace, others not")
	}
	if id, ok := other.HostUID(12); !ok || id != 300002 {
		t.Errorf("uid 12 is %d, %v", id, ok)
	}
	if _, ok := other.HostUID(15); ok {
		t.Error("uid 15 is not mapped")
	}
	kind, err := unix.IoctlRetInt(int(a.File().Fd()), unix.NS_GET_NSTYPE)
	if err != nil || kind != unix.CLONE_NEWUSER {
		t.Errorf("namespace type %#x, %v", kind, err)
	}
	must(t, a.Close())
	if _, err := unix.FcntlInt(b.File().Fd(), unix.F_GETFD, 0); err != nil {
		t.Errorf("closed while in use: %v", err)
	}
	must(t, b.Close())
	must(t, other.Close())
	// A Close too many takes nothing from the next user of the mapping.
	next, err := m.UserNS(testIDs, testIDs)
	must(t, err)
	if err := a.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Close after the last: %v", err)
	}
	if m.userns.mu.byKey[next.key] != next {
		t.Error("a Close too many ended another's namespace")
	}
	must(t, next.Close())
	if len(m.userns.mu.byKey) != 0 {
		t.Error("closed namespaces stay in the cache")
	}
}

func TestUserNSConcurrent(t *testing.T) {
	m := newMounter(t, WayAuto)
	before := leaks()
	var group sync.WaitGroup
	for i := range 32 {
		group.Go(func() {
			ids := []IDMapping{{0, uint32(100000 + i%4*65536), 65536}}
			u, err := m.UserNS(ids, ids)
			if err != nil {
				t.Error(err)
				return
			}
			u.Close()
		})
	}
	group.Wait()
	if after := awaitLeaks(before); after != before {
		t.Errorf("before %s, after %s", before, after)
	}
}

func TestUserNSErrors(t *testing.T) {
	m := newMounter(t, WayAuto)
	for want, ids := range map[string][]IDMapping{
		"1 to 340":     {},
		"1 to 340 ":    make([]IDMapping, 341),
		"length 0":     {{0, 1, 0}},
		"the last id":  {{0, 1<<32 - 1, 1}},
		"the last id ": {{1 << 31, 0, 1 << 31}},
		"overlaps":     {{0, 1000, 10}, {5, 2000, 10}},
		"overlaps ":    {{0, 1000, 10}, {10, 1005, 10}},
	} {
		if _, err := m.UserNS(ids, testIDs); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(want)) {
			t.Errorf("uids %v: %v", ids, err)
		}
		if _, err := m.UserNS(testIDs, ids); err == nil || !strings.Contains(err.Error(), "gid mapping") {
			t.Errorf("gids: %v", err)
		}
	}
	// A namespace without root is fine for a mount, not for a /dev.
	ids := []IDMapping{{5, 100005, 1}}
	u, err := m.UserNS(ids, ids)
	must(t, err)
	defer u.Close()
	if _, err := Dev(DevConfig{UserNS: u}); err == nil {
		t.Error("/dev for a namespace without root")
	}
}

func TestFeatures(t *testing.T) {
	m := newMounter(t, WayAuto)
	f, err := m.Features()
	must(t, err)
	t.Logf("%+v", f)
	entries, err := os.ReadDir(m.dir)
	if err != nil || len(entries) != 0 {
		t.Errorf("left by the probes: %v, %v", entries, err)
	}
	// On a kernel that must have a feature, a probe that says no is wrong (and every skip because of it).
	for _, c := range []struct {
		major, minor int
		have         bool
		name         string
	}{
		{5, 12, f.RecursiveReadOnly, "RecursiveReadOnly"},
		{6, 3, f.IDMappedTmpfs, "IDMappedTmpfs"},
		{6, 13, f.DetachedOverlay, "DetachedOverlay"},
		{6, 15, f.DetachedLayers, "DetachedLayers"},
		{6, 15, f.CloneDetached, "CloneDetached"},
		{6, 15, f.DetachedOnDetached, "DetachedOnDetached"},
	} {
		if kernelAtLeast(t, c.major, c.minor) != c.have {
			t.Errorf("%s is %v, but it came with Linux %d.%d", c.name, c.have, c.major, c.minor)
		}
	}
	if f.IDMappedDir && kernelAtLeast(t, 5, 19) && !f.IDMappedLayers {
		t.Error("overlay over idmapped layers came with Linux 5.19")
	}
}

// An answer that isn't conclusive is asked for again.
func TestProbeAgain(t *testing.T) {
	m := newMounter(t, WayAuto)
	dir := m.dir
	m.dir = dir + "/missing"
	if _, err := m.Features(); err == nil {
		t.Fatal("probed in a missing directory")
	}
	m.dir = dir
	if f, err := m.Features(); err != nil || !f.RecursiveReadOnly {
		t.Errorf("%+v, %v", f, err)
	}
}
