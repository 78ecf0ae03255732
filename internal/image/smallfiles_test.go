package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"podlet/hack/testimages/testimage"
)

// TestSmallFilesInOrder: what names mean doesn't depend on how far the writers are: of files with one name the last counts, and a link is to the file that had the name then.
func TestSmallFilesInOrder(t *testing.T) {
	const rounds = 4 * batchFiles * maxBatches
	body := func(i int) string { return strings.Repeat(fmt.Sprintf("%d,", i), 1+i*37%3000) }
	tree := testimage.NewTree()
	for i := range rounds {
		tree.File("x", 0o600+int64(i%8), body(i)).File(fmt.Sprintf("d/f%d", i), 0o644, body(i))
		if i%3 == 0 {
			tree.Link(fmt.Sprintf("l%d", i), "x")
		}
	}
	root, size, err := unpackTo(t, bytes.NewReader(tarOf(t, tree)))
	must(t, err)
	check := func(name string, i int) {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil || string(data) != body(i) {
			t.Errorf("%s has %d bytes, want %d, %v", name, len(data), len(body(i)), err)
		}
	}
	check("x", rounds-1)
	for i := range rounds {
		check(fmt.Sprintf("d/f%d", i), i)
		if i%3 == 0 {
			check(fmt.Sprintf("l%d", i), i)
			if mode := lstat(t, fmt.Sprintf("%s/l%d", root, i)).Mode & 0o7777; mode != uint32(0o600+i%8) {
				t.Errorf("l%d has the mode %o", i, mode)
			}
		}
	}
	checkSize(t, root, size)
}

// TestSmallFileFails: the first entry that can't be completed is told by its name, and nothing stays open (TestMain counts).
func TestSmallFileFails(t *testing.T) {
	for _, at := range []int{0, batchFiles, 3*batchFiles*maxBatches - 1} {
		tree := testimage.NewTree()
		for i := range 3 * batchFiles * maxBatches {
			h := tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("f%d", i), Mode: 0o644}
			if i == at {
				h.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "bad"}
			}
			tree.Add(h, []byte("content"))
		}
		_, _, err := unpackTo(t, bytes.NewReader(tarOf(t, tree)))
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), fmt.Sprintf(`"f%d"`, at)) {
			t.Errorf("file %d: %v", at, err)
		}
	}
}

// TestSmallFilesCancel: a context that ends while files wait is told, and nothing stays open.
func TestSmallFilesCancel(t *testing.T) {
	s := newStore(t)
	must(t, s.root.Mkdir("tmp/tree", 0o755))
	root, err := s.openTree("tmp/tree")
	must(t, err)
	defer root.Close()
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("why")
	var data bytes.Buffer
	for i := range 1000 {
		data.Write(block(fmt.Sprintf("f%d", i), '0', 512))
		data.Write(make([]byte, 512))
	}
	// Tar's reader asks for 512 bytes at a time: the header of entry 500, and no more.
	left := 500
	_, err = s.unpack(ctx, readerFunc(func(p []byte) (int, error) {
		if left--; left == 0 {
			cancel(why)
		}
		return io.LimitReader(&data, 1024).Read(p)
	}), root, func(int64) {}, nil)
	if !errors.Is(err, why) {
		t.Error(err)
	}
}

// TestUnpackPanic: a panic between the files ends their writers too, so that the store can still be closed.
func TestUnpackPanic(t *testing.T) {
	s := newStore(t)
	tree := testimage.NewTree()
	for n := range 1500 {
		tree.File(fmt.Sprintf("f%d", n), 0o644, "content")
	}
	data := tarOf(t, tree)
	pins := s.Pins()
	err := s.EnsureLayer(ctx, pins, LayerSource{
		DiffID: digestOf(data), Size: -1, Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
		Progress: func(LayerProgress) { panic("here") },
	})
	if !errors.Is(err, ErrPanic) {
		t.Error(err)
	}
	pins.Release()
	checkStore(t, s)
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	closedStores.Store(s, true)
	select {
	case err := <-closed:
		must(t, err)
	case <-time.After(3 * time.Minute): // it syncs the disk as well
		t.Fatal("Close waits for writers that nobody ends")
	}
}

// TestSmallFilePanic: a panic of a writer is this layer's failure.
func TestSmallFilePanic(t *testing.T) {
	s := newStore(t)
	f := s.newSmallFiles(context.Background())
	fd, err := unix.Open(t.TempDir(), unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	must(t, err)
	must(t, f.add(fd, &tar.Header{}, strings.NewReader("")))
	f.now.files[0].header = nil
	f.flush()
	if err := f.settle(); err == nil || !strings.Contains(err.Error(), "panic") {
		t.Error(err)
	}
	if err := f.end(); err == nil {
		t.Error("forgotten")
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != unix.EBADF {
		t.Error("the file is still open")
	}
}
