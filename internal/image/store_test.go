package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"podlet/hack/testimages/testimage"
)

// TestDirectories: the state is podlet's alone, whatever the umask and whatever was there before (CVE-2024-25621).
func TestDirectories(t *testing.T) {
	modes := func(root string) {
		t.Helper()
		for _, name := range []string{"", dirLayers, dirImages, dirTmp, dirQuarantine} {
			if st := lstat(t, filepath.Join(root, name)); st.Mode != unix.S_IFDIR|0o700 || st.Uid != 0 {
				t.Errorf("%q: %o, owner %d", name, st.Mode, st.Uid)
			}
		}
		if st := lstat(t, root+"/lock"); st.Mode != unix.S_IFREG|0o600 {
			t.Errorf("lock: %o", st.Mode)
		}
	}
	for _, mask := range []int{0, 0o022, 0o077, 0o777} {
		old := unix.Umask(mask)
		root := filepath.Join(t.TempDir(), "store")
		unix.Umask(mask)
		s, err := open(root, "boot-1")
		unix.Umask(old)
		if mask == 0o777 {
			// Nothing can be made under a directory nobody may enter but root, who may.
			must(t, err)
		}
		must(t, err)
		must(t, s.Close())
		modes(root)
	}

	wide := filepath.Join(t.TempDir(), "store")
	must(t, os.Mkdir(wide, 0o755))
	must(t, os.Chmod(wide, 0o777))
	must(t, os.Mkdir(wide+"/layers", 0o755))
	must(t, os.Chmod(wide+"/layers", 0o1777))
	mark := logged.mark()
	openStore(t, wide, "boot-1")
	modes(wide)
	if n := strings.Count(logged.since(mark), "was open to others"); n != 2 {
		t.Errorf("%d warnings: %s", n, logged.since(mark))
	}

	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(t.TempDir(), link))
	if _, err := Open(link); err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Error(err)
	}
	inner := t.TempDir()
	must(t, os.Symlink("/tmp", inner+"/layers"))
	if _, err := Open(inner); err == nil {
		t.Error("layers may be a link")
	}
	foreign := t.TempDir()
	must(t, os.Chown(foreign, 12345, 0))
	if _, err := Open(foreign); err == nil || !strings.Contains(err.Error(), "12345") {
		t.Error(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	if _, err := Open(file); err == nil {
		t.Error("a file is no store")
	}
}

func TestLocked(t *testing.T) {
	s := newStore(t)
	if _, err := Open(s.path); !errors.Is(err, ErrLocked) {
		t.Error(err)
	}
	reopen(t, s, "boot-1")
}

func TestGet(t *testing.T) {
	s := newStore(t)
	a := importImage(t, s, simple(t, "docker.io/library/app:latest", "a"))
	b := importImage(t, s, simple(t, "host.test/app:v1", "b"))
	for ref, want := range map[string]Digest{
		"app": a.ID, "docker.io/library/app": a.ID, "app:latest": a.ID, "host.test/app:v1": b.ID,
		a.ID.String(): a.ID, a.ID.Hex(): a.ID, a.ID.Hex()[:12]: a.ID, "sha256:" + b.ID.Hex()[:20]: b.ID, b.Digests[0]: b.ID,
		strings.Replace(b.Digests[0], "@", ":whatever@", 1): b.ID,
	} {
		got, err := s.Get(ref)
		if err != nil || got.ID != want {
			t.Errorf("%s: %v, %v", ref, got.ID, err)
		}
	}
	for _, ref := range []string{"app:v1", "host.test/app", "none", someDigest, strings.Repeat("ab", 32), a.ID.Hex()[:4], "host.test/app@" + someDigest} {
		if got, err := s.Get(ref); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v, %v", ref, got.ID, err)
		}
	}
	for _, ref := range []string{"", "UPPER", "../x", "/", "a b", strings.Repeat("a", 1<<20), "sha256:../x"} {
		if got, err := s.Get(ref); !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v, %v", quote(ref), got.ID, err)
		} else if len(err.Error()) > 1000 {
			t.Errorf("error of %d bytes", len(err.Error()))
		}
	}
}

// TestNameMoves: a name belongs to the image that was given it last.
func TestNameMoves(t *testing.T) {
	s := newStore(t)
	const name = "podlet.test/moves:1"
	a := importImage(t, s, simple(t, name, "a"))
	b := importImage(t, s, simple(t, name, "b"))
	check := func() {
		t.Helper()
		if got, err := s.Get(name); err != nil || got.ID != b.ID {
			t.Errorf("%v, %v", got.ID, err)
		}
		if got, err := s.Get(a.ID.String()); err != nil || len(got.Tags) != 0 {
			t.Errorf("%v, %v", got.Tags, err)
		}
	}
	check()
	s = reopen(t, s, "boot-1")
	check()
	// As if the process had been killed between the two records.
	s.mu.Lock()
	stale := *s.mu.images[a.ID]
	s.mu.Unlock()
	stale.Tags = []string{name}
	must(t, s.saveRecord(&stale))
	s = reopen(t, s, "boot-1")
	check()
	// The name goes with the image that had it last.
	must(t, s.Remove(b.ID.String()))
	s = reopen(t, s, "boot-1")
	if got, err := s.Get(name); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v, %v", got.ID, err)
	}
}

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

// TestDamage: each file of an image and of a layer damaged in each way stops neither Open nor the other image; the damaged one can be imported again.
func TestDamage(t *testing.T) {
	image := "images/ID/"
	layer := "layers/LAYER/"
	damages := map[string]func(path string) error{
		"missing":   os.Remove,
		"empty":     func(p string) error { return os.Truncate(p, 0) },
		"torn":      func(p string) error { return os.Truncate(p, 30) },
		"flipped":   func(p string) error { return edit(p, func(b []byte) []byte { b[len(b)/2] ^= 1; return b }) },
		"longer":    func(p string) error { return edit(p, func(b []byte) []byte { return append(b, ' ') }) },
		"directory": func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o700)) },
		"huge":      func(p string) error { return os.Truncate(p, 1<<40) },
	}
	for _, file := range []string{image + fileRecord, image + fileConfig, image + filePasswd, image + fileGroup, layer + fileRecord} {
		for how, damage := range damages {
			t.Run(file+" "+how, func(t *testing.T) {
				s := newStore(t)
				other := importImage(t, s, simple(t, "podlet.test/other:1", "x"))
				victim := testimage.Image{Names: []string{"podlet.test/victim:1"}, Layers: []testimage.Layer{
					layerOf(t, testimage.NewTree().File("etc/passwd", 0o644, oneUser).File("etc/group", 0o644, "app:x:1000:\n")),
				}}
				img := importImage(t, s, victim)
				layerID := s.mu.images[img.ID].Layers[0].Hex()
				must(t, s.Close())
				closedStores.Store(s, true)
				path := filepath.Join(s.path, strings.NewReplacer("ID", img.ID.Hex(), "LAYER", layerID).Replace(file))
				must(t, damage(path))

				mark := logged.mark()
				s = openStore(t, s.path, "boot-1")
				if _, err := s.Get(other.ID.String()); err != nil {
					t.Error(err)
				}
				if got, err := s.Get(img.ID.String()); !errors.Is(err, ErrNotFound) {
					t.Errorf("%+v, %v", got, err)
				}
				if len(s.Lost()) != 1 || s.Lost()[0].ID != img.ID || s.Lost()[0].Reason == "" {
					t.Errorf("%+v", s.Lost())
				}
				log := logged.since(mark)
				if !strings.Contains(log, "reason=") || !strings.Contains(log, img.ID.Hex()) && !strings.Contains(log, layerID) {
					t.Errorf("log: %s", log)
				}
				set, err := s.names(dirQuarantine)
				must(t, err)
				if want := strings.HasPrefix(file, "images"); (len(set) == 1) != want {
					t.Errorf("quarantine: %v", set)
				}
				checkStore(t, s)
				if again := importImage(t, s, victim); again.ID != img.ID {
					t.Error(again.ID)
				}
				checkStore(t, s)
			})
		}
	}
}

func edit(path string, change func([]byte) []byte) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, change(b), 0o600)
}

// TestDebris: what doesn't belong there is swept at Open, also trees that resist a little; quarantine stays bounded.
func TestDebris(t *testing.T) {
	s := newStore(t)
	img := importImage(t, s, simple(t, "podlet.test/debris:1", "x"))
	must(t, s.Close())
	closedStores.Store(s, true)
	at := func(name string) string { return filepath.Join(s.path, name) }
	must(t, os.MkdirAll(at("tmp/half/diff/a/b"), 0o700))
	must(t, os.WriteFile(at("tmp/half/diff/a/b/c"), nil, 0))
	must(t, os.Chmod(at("tmp/half/diff/a"), 0))
	must(t, os.Symlink(img.LayerDirs()[0], at("tmp/half/diff/link")))
	must(t, os.WriteFile(at("tmp/file"), nil, 0o600))
	must(t, os.MkdirAll(at("layers/noise/diff"), 0o700))
	must(t, os.MkdirAll(at("layers/"+strings.Repeat("ab", 32)), 0o700))
	must(t, os.WriteFile(at("layers/"+strings.Repeat("cd", 32)), nil, 0o600))
	must(t, os.MkdirAll(at("layers/"+strings.Repeat("ef", 32)+"/diff"), 0o700)) // of another layer's record
	record, err := os.ReadFile(filepath.Join(filepath.Dir(img.LayerDirs()[0]), fileRecord))
	must(t, err)
	must(t, os.WriteFile(at("layers/"+strings.Repeat("ef", 32)+"/record"), record, 0o600))
	for n := range maxQuarantine + 5 {
		must(t, os.MkdirAll(at(fmt.Sprintf("images/%s%d", strings.Repeat("z", 200), n)), 0o700))
	}
	must(t, os.WriteFile(at("images/"+strings.Repeat("01", 32)), []byte("x"), 0o600))
	s = openStore(t, s.path, "boot-1")
	checkStore(t, s)
	if got, err := s.Get(img.ID.String()); err != nil {
		t.Errorf("%v, %v", got, err)
	}
	lstat(t, img.LayerDirs()[0]+"/content")
	set, err := s.names(dirQuarantine)
	must(t, err)
	if len(set) != maxQuarantine {
		t.Errorf("%d in quarantine", len(set))
	}
}

// TestDiskFull: an import on a full disk fails with ENOSPC and leaves nothing; removing works without any space.
func TestDiskFull(t *testing.T) {
	root := t.TempDir()
	must(t, unix.Mount("tmpfs", root, "tmpfs", 0, "size=4m,nr_inodes=200,mode=700"))
	t.Cleanup(func() { must(t, unix.Unmount(root, unix.MNT_DETACH)) })
	s, err := open(root, "boot-1")
	must(t, err)
	defer s.Close()
	s.HoldsComplete()
	held := importImage(t, s, simple(t, "podlet.test/held:1", strings.Repeat("x", 1<<20)))
	small := importImage(t, s, simple(t, "podlet.test/small:1", "x"))
	_, err = s.Hold(held.ID.String(), "c1")
	must(t, err)

	dir := t.TempDir()
	must(t, simple(t, "podlet.test/big:1", strings.Repeat("y", 8<<20)).WriteLayout(dir))
	_, err = s.Import(ctx, dir, ImportOptions{})
	if !errors.Is(err, unix.ENOSPC) || errors.Is(err, ErrInvalid) {
		t.Errorf("bytes: %v", err)
	}
	checkStore(t, s)
	inodes := testimage.NewTree()
	for n := range 300 {
		inodes.File(fmt.Sprint(n), 0o644, "")
	}
	dir = t.TempDir()
	must(t, testimage.Image{Names: []string{"podlet.test/inodes:1"}, Layers: []testimage.Layer{layerOf(t, inodes)}}.WriteLayout(dir))
	_, err = s.Import(ctx, dir, ImportOptions{})
	if !errors.Is(err, unix.ENOSPC) || errors.Is(err, ErrInvalid) {
		t.Errorf("inodes: %v", err)
	}
	checkStore(t, s)

	// Not a byte and not an inode left.
	fill := filepath.Join(root, "fill")
	f, err := os.Create(fill)
	must(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	f.Close()
	for n := 0; ; n++ {
		if err := os.Mkdir(fmt.Sprintf("%s%d", fill, n), 0o700); err != nil {
			break
		}
	}
	must(t, s.Remove(held.ID.String()))
	must(t, s.Remove(small.ID.String()))
	s.Release("c1")
	if len(s.List()) != 0 || s.FsInfo().Inodes != 0 {
		t.Errorf("%+v", s.FsInfo())
	}
	checkStore(t, s)
}

func FuzzRecord(f *testing.F) {
	good, err := encodeRecord(&layerRecord{DiffID: digestOf(nil), Bytes: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(recordMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r layerRecord
		if err := decodeRecord(data, &r); err != nil {
			return
		}
		if _, err := encodeRecord(&r); err != nil {
			t.Error(err)
		}
	})
}
