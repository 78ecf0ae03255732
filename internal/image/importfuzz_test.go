package image

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"podlet/hack/testimages/testimage"
)

// FuzzImport takes the input as an archive to import: an OCI layout or a docker-archive.
func FuzzImport(f *testing.F) {
	s, _ := fuzzStore(f)
	image := testimage.Image{Names: []string{"podlet.test/fuzz:1"}, Layers: []testimage.Layer{layerOf(f, testimage.NewTree().File("etc/passwd", 0o644, "u:x:1:1::/:/bin/sh\n"))}}
	dir := f.TempDir()
	must(f, image.WriteLayout(dir))
	layout, err := testimage.TarOf(dir)
	must(f, err)
	f.Add(layout)
	var docker bytes.Buffer
	must(f, testimage.WriteDockerArchive(&docker, image))
	f.Add(docker.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 64<<10 {
			return
		}
		images, err := s.ImportReader(ctx, bytes.NewReader(data), ImportOptions{})
		if err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("not the archive's fault: %v", err)
		}
		for _, i := range images {
			must(t, s.Remove(i.ID.String()))
		}
		left, err := os.ReadDir(s.path + "/" + dirTmp)
		must(t, err)
		if len(left) != 0 {
			t.Errorf("%d things are left in tmp", len(left))
		}
	})
}

// FuzzName takes the input as an image's name.
func FuzzName(f *testing.F) {
	for _, name := range []string{"busybox", "a.b:5000/c/d:tag", "x@sha256:" + zeros64, "UPPER", "a//b", "[::1]:5000/x"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		full, err := NormalizeName(name)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("not the name's fault: %v", err)
			}
			return
		}
		if again, err := NormalizeName(full); err != nil || again != full {
			t.Errorf("%q becomes %q, which becomes %q, %v", name, full, again, err)
		}
	})
}

const zeros64 = "0000000000000000000000000000000000000000000000000000000000000000"

// FuzzDecompress takes the input as a layer's bytes as they come.
func FuzzDecompress(f *testing.F) {
	for _, c := range []testimage.Compression{testimage.None, testimage.Gzip, testimage.Zstd} {
		l, err := testimage.NewTree().File("f", 0o644, "content").Layer(c)
		must(f, err)
		blob, err := l.Blob()
		must(f, err)
		f.Add(blob)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decompress(bytes.NewReader(data))
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("not the layer's fault: %v", err)
			}
			return
		}
		defer r.Close()
		io.Copy(io.Discard, io.LimitReader(r, 64<<20))
	})
}
