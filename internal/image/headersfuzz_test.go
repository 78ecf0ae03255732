package image

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/s2"

	"podlet/hack/testimages/testimage"
)

// FuzzHeaders has a layer's headers be anything: reading them ends, in an error that is damage or in a tar that the tree fits.
func FuzzHeaders(f *testing.F) {
	s := newStore(f)
	img := importImage(f, s, testimage.Image{Names: []string{"podlet.test/fuzz:1"}, Layers: []testimage.Layer{
		layerOf(f, testimage.NewTree().Dir("d", 0o755).File("d/f", 0o644, "content").Symlink("l", "d").Link("h", "d/f").File(".wh.w", 0, "")),
	}})
	dir := filepath.Dir(img.LayerDirs()[0])
	file := filepath.Join(dir, fileHeaders)
	whole, err := os.ReadFile(file)
	if err != nil {
		f.Fatal(err)
	}
	plain, err := io.ReadAll(s2.NewReader(bytes.NewReader(whole)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain)
	f.Add([]byte{2, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{3, 3, 3})
	record := s.mu.layers[img.Config.diffIDs[0]].layerRecord
	f.Fuzz(func(t *testing.T, frames []byte) {
		var z bytes.Buffer
		w := s2.NewWriter(&z, s2.WriterConcurrency(1), s2.WriterBlockSize(64<<10))
		w.Write(frames)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, z.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		l := record
		l.Headers = int64(z.Len())
		for _, deep := range []bool{false, true} {
			if err := (&treeCheck{s: s, l: &l, deep: deep}).run(ctx); err != nil && !bytes.Equal(frames, plain) {
				continue
			} else if err != nil {
				t.Fatal(err)
			}
		}
	})
}
