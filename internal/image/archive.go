package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// archive is an image archive: files by name, readable in any order and more than once.
type archive interface {
	// open gives a regular file and its size. A missing one is fs.ErrNotExist.
	open(name string) (io.ReadCloser, int64, error)
	Close() error
}

// readAll reads a file of the archive that may have at most most bytes (CVE-2023-25153).
func readAll(a archive, name string, most int64) ([]byte, error) {
	r, size, err := a.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if size > most {
		return nil, invalid("%s has %d bytes: at most %d", quote(name), size, most)
	}
	data, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", quote(name), err)
	}
	if int64(len(data)) > most {
		return nil, invalid("%s has more than %d bytes", quote(name), most)
	}
	return data, nil
}

// dirArchive is an archive unpacked in a directory. Links in it lead nowhere outside.
type dirArchive struct{ dir *os.File }

func (a *dirArchive) Close() error { return a.dir.Close() }

func (a *dirArchive) open(name string) (io.ReadCloser, int64, error) {
	fd, err := openat2(int(a.dir.Fd()), name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_MAGICLINKS)
	if err != nil {
		return nil, 0, &os.PathError{Op: "open", Path: path.Join(a.dir.Name(), name), Err: err}
	}
	f := os.NewFile(uintptr(fd), path.Join(a.dir.Name(), name))
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = invalid("%s is not a regular file", f.Name())
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, fi.Size(), nil
}

// tarArchive is an archive in one uncompressed tar file. Where its files lie is noted once.
type tarArchive struct {
	f       *os.File
	members map[string]member
}

type member struct {
	offset, size int64
	link         string // of a symbolic link: the member it leads to
}

func openTarArchive(ctx context.Context, f *os.File) (*tarArchive, error) {
	a := &tarArchive{f: f, members: map[string]member{}}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	guard := &seekGuard{headerGuard: headerGuard{r: f}, f: f}
	tr := tar.NewReader(guard)
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		guard.begin()
		h, err := tr.Next()
		guard.end()
		if errors.Is(err, io.EOF) {
			return a, nil
		}
		if err != nil {
			return nil, invalid("archive: after %d files: %w", len(a.members), err)
		}
		if err := a.note(h); err != nil {
			return nil, err
		}
	}
}

// note takes an entry into the table. The file's position is that of its content.
func (a *tarArchive) note(h *tar.Header) error {
	if h.Typeflag == tar.TypeDir || h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := cleanName(h.Name)
	if err != nil {
		return invalid("archive: file %s: %w", quote(h.Name), err)
	}
	if len(a.members) >= maxArchiveEntries {
		return invalid("archive: more than %d files", maxArchiveEntries)
	}
	if _, twice := a.members[name]; twice {
		return invalid("archive: two files named %s", quote(name))
	}
	at, err := a.f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	switch {
	case h.Typeflag == tar.TypeReg && !isSparse(h):
		a.members[name] = member{offset: at, size: h.Size}
	case h.Typeflag == tar.TypeSymlink && !path.IsAbs(h.Linkname):
		// Old versions of docker save write a layer once and link to it.
		a.members[name] = member{link: path.Join(path.Dir(name), h.Linkname)}
	case h.Typeflag == tar.TypeLink:
		a.members[name] = member{link: path.Clean(h.Linkname)}
	}
	return nil
}

func (a *tarArchive) Close() error { return a.f.Close() }

func (a *tarArchive) open(name string) (io.ReadCloser, int64, error) {
	for range 8 {
		m, ok := a.members[path.Clean(strings.TrimPrefix(name, "/"))]
		if !ok {
			break
		}
		if m.link == "" {
			return io.NopCloser(io.NewSectionReader(a.f, m.offset, m.size)), m.size, nil
		}
		name = m.link
	}
	return nil, 0, &os.PathError{Op: "open in archive", Path: quote(name), Err: fs.ErrNotExist}
}

// seekGuard is a headerGuard over a file, where the tar reader passes over contents by seeking.
type seekGuard struct {
	headerGuard
	f *os.File
}

func (g *seekGuard) Seek(offset int64, whence int) (int64, error) { return g.f.Seek(offset, whence) }

// openArchive opens what is at path: a directory, or a tar file, plain or compressed.
func (s *Store) openArchive(ctx context.Context, name string) (archive, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	switch {
	case err != nil:
	case fi.IsDir():
		return &dirArchive{dir: f}, nil
	case !fi.Mode().IsRegular():
		err = invalid("%s is neither a directory nor a regular file", name)
	default:
		var head [4]byte
		n, _ := f.ReadAt(head[:], 0)
		if !isCompressed(head[:n]) {
			a, err := openTarArchive(ctx, f)
			if err != nil {
				f.Close()
				return nil, err
			}
			return a, nil
		}
		defer f.Close()
		return s.spoolArchive(ctx, f)
	}
	f.Close()
	return nil, err
}

// spoolArchive keeps a stream in an unlinked file on the store's disk: the index may stand behind the layers it names.
func (s *Store) spoolArchive(ctx context.Context, r io.Reader) (archive, error) {
	f, err := s.unnamedFile()
	if err != nil {
		return nil, err
	}
	a, err := spool(ctx, f, r)
	if err != nil {
		f.Close()
		return nil, err
	}
	return a, nil
}

// unnamedFile makes a file that is gone with its fd.
func (s *Store) unnamedFile() (*os.File, error) {
	name := s.newTmp()
	f, err := s.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := s.root.Remove(name); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func spool(ctx context.Context, f *os.File, r io.Reader) (archive, error) {
	in := &meter{ctx: ctx, r: io.NopCloser(r), most: -1}
	plain, err := decompress(in)
	if err != nil {
		return nil, explain(ctx, err)
	}
	defer plain.Close()
	if _, err := io.Copy(f, plain); err != nil {
		return nil, explain(ctx, fmt.Errorf("archive: %w", err))
	}
	return openTarArchive(ctx, f)
}
