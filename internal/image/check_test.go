package image

import (
	"archive/tar"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"podlet/hack/testimages/testimage"
)

// closeStore is for tests that look at a store nobody has open.
func closeStore(t *testing.T, s *Store) {
	t.Helper()
	must(t, s.Close())
	closedStores.Store(s, true)
}

func check(t *testing.T, root string, o CheckOptions) *CheckReport {
	t.Helper()
	r, err := checkClosed(ctx, root, "boot-1", o)
	must(t, err)
	return r
}

// tampered are ways in which a store's files can be not what they were. layer is the upper layer's directory, image the image's, root the store's.
var tampered = []struct {
	what   string
	do     func(layer, image, root string) error
	kind   FindingKind
	about  string // of the finding: "layer", "image", or a directory of the store
	says   string
	deep   bool // only a deep check sees it
	rescue bool // the image is usable all the same
}{
	{"a file that is empty after a power cut", func(l, _, _ string) error { return os.Truncate(l+"/diff/bin/app", 0) }, Damaged, "layer", `"bin/app" has 0 bytes, not 3000`, false, false},
	{"a file that is longer", func(l, _, _ string) error { return appendTo(l + "/diff/bin/app") }, Damaged, "layer", "has 3001 bytes", false, false},
	{"a file that is other bytes", func(l, _, _ string) error { return flipByte(l + "/diff/bin/app") }, Damaged, "layer", "not what it was", true, false},
	{"a file that is gone", func(l, _, _ string) error { return os.Remove(l + "/diff/bin/app") }, Damaged, "layer", `"bin/app" is missing`, false, false},
	{"a file that nobody unpacked", func(l, _, _ string) error { return os.WriteFile(l+"/diff/bin/more", nil, 0o644) }, Damaged, "layer", "files and directories", false, false},
	{"a mode", func(l, _, _ string) error { return os.Chmod(l+"/diff/bin/app", 0o755|os.ModeSetuid) }, Damaged, "layer", "has the mode 04755", false, false},
	{"an owner", func(l, _, _ string) error { return os.Chown(l+"/diff/bin", 7, 8) }, Damaged, "layer", "belongs to 7:8", false, false},
	{"a link's target", func(l, _, _ string) error {
		return errors.Join(os.Remove(l+"/diff/link"), os.Symlink("elsewhere", l+"/diff/link"))
	}, Damaged, "layer", "leads to", false, false},
	{"a hard link that is a copy", func(l, _, _ string) error {
		return errors.Join(os.Remove(l+"/diff/twin"), os.WriteFile(l+"/diff/twin", make([]byte, 3000), 0o755))
	}, Damaged, "layer", "is no link to", false, false},
	{"a file in a directory's place", func(l, _, _ string) error {
		return errors.Join(os.RemoveAll(l+"/diff/bin"), os.WriteFile(l+"/diff/bin", nil, 0o755))
	}, Damaged, "layer", `"bin" has the type`, false, false},
	{"a whiteout that is gone", func(l, _, _ string) error { return os.Remove(l + "/diff/gone") }, Damaged, "layer", `".wh.gone" is missing`, false, false},
	{"file capabilities", func(l, _, _ string) error { return unix.Removexattr(l+"/diff/bin/capable", "security.capability") }, Damaged, "layer", "file capabilities", false, false},
	{"headers", func(l, _, _ string) error { return flipByte(l + "/headers") }, Damaged, "layer", "headers", false, false},
	{"headers that are gone", func(l, _, _ string) error { return os.Remove(l + "/headers") }, Damaged, "layer", "headers are missing", false, false},
	{"a layer's record", func(l, _, _ string) error { return flipByte(l + "/record") }, Damaged, "layer", "checksum", false, false},
	{"a layer of a later podlet", func(l, _, _ string) error { return laterForm(l + "/record") }, Damaged, "layer", "later podlet", false, false},
	{"a layer's tree", func(l, _, _ string) error { return os.RemoveAll(l + "/diff") }, Damaged, "layer", "tree is missing", false, false},
	{"a layer", func(l, _, _ string) error { return os.RemoveAll(l) }, Damaged, "image", "is missing", false, false},
	{"an image's record", func(_, i, _ string) error { return os.Truncate(i+"/record", 0) }, Damaged, "image", "record is empty", false, false},
	{"a config", func(_, i, _ string) error { return flipByte(i + "/config.json") }, Damaged, "image", "damaged", false, false},
	{"an image that is gone", func(_, i, _ string) error { return os.RemoveAll(i) }, Orphan, "layer", "no image has it", false, false},
	{"debris", func(_, _, root string) error { return os.MkdirAll(root+"/tmp/x/diff/y", 0o700) }, Orphan, "tmp/x", "cut short", false, true},
	{"a stranger among the layers", func(_, _, root string) error { return os.MkdirAll(root+"/layers/x", 0o700) }, Damaged, "layers/x", "", false, true},
}

func appendTo(path string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte{0})
	return errors.Join(err, f.Close())
}

// laterForm makes a layer's record one of a form that isn't known.
func laterForm(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var r layerRecord
	if err := decodeRecord(data, &r); err != nil {
		return err
	}
	r.Form = "lazy"
	if data, err = encodeRecord(&r); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

// flipByte changes the byte in the middle.
func flipByte(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	data[len(data)/2] ^= 1
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// damageable has of each kind of entry one.
func damageable(t *testing.T) testimage.Image {
	tree := testimage.NewTree().Dir("bin", 0o755).File("bin/app", 0o755, strings.Repeat("app", 1000)).Symlink("link", "bin/app").Link("twin", "bin/app").File(".wh.gone", 0, "")
	tree.Add(capableHeader("bin/capable"), []byte("capable"))
	return testimage.Image{Names: []string{"podlet.test/damageable:1"}, Layers: []testimage.Layer{
		layerOf(t, testimage.NewTree().File("gone", 0o644, "below").File("etc", 0o644, "")), layerOf(t, tree),
	}}
}

// TestCheck: each damage is found and named, by a store that is closed as by one that is open; a look changes nothing, a repair leaves nothing wrong, and the image can be had again.
func TestCheck(t *testing.T) {
	layout := t.TempDir()
	must(t, damageable(t).WriteLayout(layout))
	for _, open := range []bool{false, true} {
		for _, c := range tampered {
			s := newStore(t)
			images, err := s.Import(ctx, layout, ImportOptions{})
			must(t, err)
			img := images[0]
			layer, dir := filepath.Dir(img.LayerDirs()[0]), filepath.Join(s.path, imageDir(img.ID))
			look := s.Check
			if !open {
				closeStore(t, s)
				look = func(_ context.Context, o CheckOptions) (*CheckReport, error) {
					return checkClosed(ctx, s.path, "boot-1", o)
				}
			}
			r, err := look(ctx, CheckOptions{Deep: true})
			must(t, err)
			if len(r.Findings) != 0 || r.Images != 1 || r.Layers != 2 || r.Files != 8 {
				t.Fatalf("whole: %+v", r)
			}
			if open {
				s.syncOnce() // else the mark comes while files are removed
			}
			must(t, c.do(layer, dir, s.path))
			// Twice: the first changes nothing.
			for _, deep := range []bool{false, true, true} {
				r, err := look(ctx, CheckOptions{Deep: deep})
				must(t, err)
				if c.deep && !deep {
					continue
				}
				if i := slices.IndexFunc(r.Findings, func(f Finding) bool {
					return f.Kind == c.kind && strings.HasPrefix(f.What, c.about) && strings.Contains(f.Problem, c.says)
				}); i < 0 || r.Wrong() == 0 {
					t.Errorf("open %v, %s: %+v", open, c.what, r.Findings)
				}
			}
			r, err = look(ctx, CheckOptions{Deep: true, Repair: true})
			must(t, err)
			if r.Wrong() != 0 || len(r.Findings) == 0 {
				t.Errorf("open %v, %s: not mended: %+v", open, c.what, r.Findings)
			}
			if !open {
				s = openStore(t, s.path, "boot-1")
			}
			if _, err := s.Get(img.ID.String()); (err == nil) != c.rescue {
				t.Errorf("open %v, %s: the image: %v", open, c.what, err)
			}
			_, err = s.Import(ctx, layout, ImportOptions{})
			must(t, err)
			if r, err := s.Check(ctx, CheckOptions{Deep: true}); err != nil || r.Wrong() != 0 || r.Images != 1 {
				t.Errorf("open %v, %s: imported again: %+v, %v", open, c.what, r, err)
			}
			checkStore(t, s)
		}
	}
}

// TestCheckInUse: what a container uses is told, and kept until it is gone.
func TestCheckInUse(t *testing.T) {
	s := newStore(t)
	img := importImage(t, s, damageable(t))
	_, err := s.Hold(img.ID.String(), "container")
	must(t, err)
	must(t, os.Truncate(img.LayerDirs()[0]+"/bin/app", 0))
	r, err := s.Check(ctx, CheckOptions{Repair: true})
	must(t, err)
	if r.Wrong() != 1 || !strings.Contains(r.Findings[0].Kept, "podlet.test/damageable:1") || r.Findings[0].Images[0] != "podlet.test/damageable:1" {
		t.Errorf("%+v", r.Findings)
	}
	lstat(t, img.LayerDirs()[0]+"/bin/app")
	s.Release("container")
	r, err = s.Check(ctx, CheckOptions{Repair: true})
	must(t, err)
	if r.Wrong() != 0 || len(s.List()) != 0 {
		t.Errorf("%+v, %v", r.Findings, s.List())
	}
	if lost := s.Lost(); len(lost) != 1 || lost[0].ID != img.ID {
		t.Errorf("lost: %+v", lost)
	}
	checkStore(t, s)
}

// TestCheckHoldsNotComplete: before it is known what containers use, nothing damaged is thrown away.
func TestCheckHoldsNotComplete(t *testing.T) {
	s := newStore(t)
	img := importImage(t, s, damageable(t))
	other := importImage(t, s, simple(t, "podlet.test/other:1", "x"))
	closeStore(t, s)
	s, err := open(s.path, "boot-1")
	must(t, err)
	defer s.Close()
	must(t, os.Truncate(img.LayerDirs()[0]+"/bin/app", 0))
	must(t, flipByte(filepath.Join(s.path, imageDir(other.ID), fileConfig)))
	r, err := s.Check(ctx, CheckOptions{Repair: true})
	must(t, err)
	for _, f := range r.Findings {
		if f.Kind == Damaged && (f.Kept == "" || f.Mended) {
			t.Errorf("%+v", f)
		}
	}
	if r.Wrong() < 2 || len(s.List()) != 2 {
		t.Errorf("%+v, %v", r.Findings, s.List())
	}
	lstat(t, img.LayerDirs()[0]+"/bin/app")
}

// TestCheckMeanwhile: imports and removals that are under way are no damage and no orphans.
func TestCheckMeanwhile(t *testing.T) {
	s := newStore(t)
	layout := t.TempDir()
	must(t, damageable(t).WriteLayout(layout))
	done := make(chan error)
	var looks atomic.Int64
	go func() {
		var err error
		// On a busy machine all may be over before the first look is.
		for i := 0; i < 30 || looks.Load() < 3; i++ {
			if _, err = s.Import(ctx, layout, ImportOptions{}); err != nil {
				break
			}
			if err = s.Remove("podlet.test/damageable:1"); err != nil {
				break
			}
		}
		done <- err
	}()
	for ; ; looks.Add(1) {
		r, err := s.Check(ctx, CheckOptions{Deep: true})
		must(t, err)
		if len(r.Findings) != 0 {
			t.Fatalf("%+v", r.Findings)
		}
		select {
		case err := <-done:
			must(t, err)
			return
		default:
		}
	}
}

// TestCheckRefuses: a store that isn't there is not made, one that is open elsewhere is not looked at, and who gives up is let go.
func TestCheckRefuses(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "absent")
	if _, err := checkClosed(ctx, absent, "boot-1", CheckOptions{}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := os.Stat(absent); err == nil {
		t.Error("it was made")
	}
	s := newStore(t)
	importImage(t, s, damageable(t))
	if _, err := Check(ctx, s.path, CheckOptions{}); !errors.Is(err, ErrLocked) {
		t.Error(err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Check(canceled, CheckOptions{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestCheckNotes: what is worth knowing and not wrong: layers without headers, what lies in quarantine, what isn't podlet's.
func TestCheckNotes(t *testing.T) {
	s := newStore(t)
	importImage(t, s, testimage.Image{Names: []string{"podlet.test/twice:1"}, Layers: []testimage.Layer{
		layerOf(t, testimage.NewTree().File("f", 0o644, "first").File("f", 0o644, "second")),
	}})
	must(t, os.Mkdir(filepath.Join(s.path, "quarantine/old"), 0o700))
	must(t, os.WriteFile(filepath.Join(s.path, "stranger"), nil, 0o600))
	closeStore(t, s)
	r := check(t, s.path, CheckOptions{Deep: true, Repair: true})
	if len(r.Findings) != 3 || r.Wrong() != 0 || slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Kind != Note || f.Mended }) {
		t.Errorf("%+v", r.Findings)
	}
}

// capableHeader is a program with file capabilities.
func capableHeader(name string) tar.Header {
	// vfs_cap_data, revision 2: CAP_NET_RAW permitted.
	value := "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, PAXRecords: map[string]string{"SCHILY.xattr.security.capability": value}, Format: tar.FormatPAX}
}

// TestCheckStrange: trees that are as they should be, though their headers alone don't say so: modes that an ACL or a later header changed, names by way of links,
// whiteouts of what the layer has itself, and one as deep as a path is long.
func TestCheckStrange(t *testing.T) {
	// The owner, a named user, the group, the mask and others: the mode's group bits are the mask's.
	acl := "\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x04\x00\xe8\x03\x00\x00\x04\x00\x04\x00\xff\xff\xff\xff\x10\x00\x07\x00\xff\xff\xff\xff\x20\x00\x04\x00\xff\xff\xff\xff"
	tree := testimage.NewTree().
		Add(tar.Header{Typeflag: tar.TypeReg, Name: "acl", Mode: 0o600, PAXRecords: map[string]string{"SCHILY.xattr.system.posix_acl_access": acl}}, []byte("x")).
		Dir("d", 0o700).Dir("d", 0o1755).Symlink("l", "/d/../d").Dir("d/twice", 0o755).Dir("l/twice", 0o700).File("l/f", 0o4644, "by a link").Link("l/g", "l/f").
		File("own", 0o644, "").File(".wh.own", 0, "").File(".wh.back", 0, "").Dir("back", 0o755).File("implicit/dir/file", 0o644, "").
		File("././dot//f", 0o644, "").File("/absolute", 0o644, "")
	tree.File(strings.Repeat("a/", 2046)+"f", 0o644, "deep")
	s := newStore(t)
	importImage(t, s, testimage.Image{Names: []string{"podlet.test/strange:1"}, Layers: []testimage.Layer{
		layerOf(t, testimage.NewTree().Dir("implicit", 0o1777).Dir("implicit/dir", 0o700)), layerOf(t, tree),
	}})
	for _, l := range s.mu.layers {
		if l.Headers == 0 {
			t.Errorf("no headers: %s", l.NoHeaders)
		}
	}
	if r, err := s.Check(ctx, CheckOptions{Deep: true}); err != nil || len(r.Findings) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}
