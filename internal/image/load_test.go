package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"podlet/hack/testimages/testimage"
)

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
