package image

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// sink is where an export goes. Names are those of an OCI image layout's files.
type sink interface {
	// put writes a whole file.
	put(name string, data []byte) error
	// stream writes a file of size bytes by write.
	stream(name string, size int64, write func(w io.Writer) error) error
	// create makes an empty file for what has no name yet; the caller closes it. keep puts it, size bytes now, in its place.
	create() (*os.File, error)
	keep(f *os.File, name string, size int64) error
	// drop takes back what create made.
	drop(f *os.File)
	close() error
}

// dirSink is a directory.
type dirSink struct{ dir string }

// newDirSink makes dir, or takes it as it is where it is empty: a layout is not mixed with what somebody else put there.
func newDirSink(dir string) (*dirSink, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	if _, err := d.Readdirnames(1); err == nil {
		return nil, fmt.Errorf("the directory is not empty")
	} else if !errors.Is(err, io.EOF) {
		return nil, err
	}
	return &dirSink{dir}, nil
}

func (d *dirSink) create() (*os.File, error) { return os.CreateTemp(d.dir, ".new-") }

func (d *dirSink) keep(f *os.File, name string, _ int64) error {
	to := filepath.Join(d.dir, name)
	err := os.MkdirAll(filepath.Dir(to), 0o755)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = os.Rename(f.Name(), to)
	}
	if err != nil {
		d.drop(f)
	}
	return err
}

func (d *dirSink) drop(f *os.File) { os.Remove(f.Name()) }

func (d *dirSink) stream(name string, size int64, write func(w io.Writer) error) error {
	f, err := d.create()
	if err != nil {
		return err
	}
	defer f.Close()
	if err := write(f); err != nil {
		d.drop(f)
		return err
	}
	return d.keep(f, name, size)
}

func (d *dirSink) put(name string, data []byte) error {
	return d.stream(name, int64(len(data)), func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

func (d *dirSink) close() error { return nil }

// tarSink is one tar, the same bytes for the same images.
type tarSink struct {
	s   *Store
	buf *bufio.Writer
	w   *tar.Writer
}

func newTarSink(s *Store, w io.Writer) *tarSink {
	buf := bufio.NewWriterSize(w, 256<<10)
	return &tarSink{s: s, buf: buf, w: tar.NewWriter(buf)}
}

// create makes a file without a name on the store's disk: a tar's header wants the size before the content.
func (t *tarSink) create() (*os.File, error) { return t.s.unnamedFile() }

func (t *tarSink) drop(*os.File) {}

func (t *tarSink) keep(f *os.File, name string, size int64) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return t.stream(name, size, func(w io.Writer) error {
		_, err := io.Copy(w, f)
		return err
	})
}

func (t *tarSink) stream(name string, size int64, write func(w io.Writer) error) error {
	err := t.w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: size, ModTime: time.Unix(0, 0), Format: tar.FormatPAX})
	if err != nil {
		return err
	}
	return write(t.w)
}

func (t *tarSink) put(name string, data []byte) error {
	return t.stream(name, int64(len(data)), func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

func (t *tarSink) close() error { return errors.Join(t.w.Close(), t.buf.Flush()) }
