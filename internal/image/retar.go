package image

import (
	"archive/tar"
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/klauspost/compress/s2"
	"golang.org/x/sys/unix"
)

// damageError: something in the store isn't what it was when it was verified.
type damageError struct{ err error }

func (e *damageError) Error() string { return e.err.Error() }
func (e *damageError) Unwrap() error { return e.err }

func damage(format string, args ...any) error { return &damageError{fmt.Errorf(format, args...)} }

// retar makes a layer's tar again, from its headers and its tree.
type retar struct {
	ctx    context.Context
	frames *bufio.Reader
	left   int64
	skip   bool  // left is content
	most   int64 // of the tar, still to come
	// tree is where contents are read, -1: contents are zeros, for whoever wants the headers alone.
	tree int
	name string
	file *os.File
}

// readTar reads the tar of a layer that has headers. each, if set, is told every header, in order. With contents, out gets the whole tar; else no file
// is read and out gets zeros in their place. What doesn't fit is a damageError.
func (s *Store) readTar(ctx context.Context, l *layerRecord, contents bool, out io.Writer, each func(h *tar.Header) error) error {
	dir := layerDir(l.DiffID)
	f, err := s.root.Open(path.Join(dir, fileHeaders))
	if errors.Is(err, fs.ErrNotExist) {
		return damage("its headers are missing")
	}
	if err != nil {
		return err
	}
	defer f.Close()
	r := &retar{ctx: ctx, frames: bufio.NewReaderSize(s2.NewReader(f, s2.ReaderMaxBlockSize(1<<20)), 32<<10), tree: -1, most: l.TarBytes}
	defer r.closeFile()
	if contents {
		tree, err := s.root.Open(path.Join(dir, dirDiff))
		if err != nil {
			return err
		}
		defer tree.Close()
		r.tree = int(tree.Fd())
	}
	in := io.TeeReader(r, out)
	if err := r.headers(tar.NewReader(in), each); err != nil {
		return err
	}
	// What follows the archive's end belongs to the tar too.
	_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, in, make([]byte, 64<<10))
	if err == nil && r.most > 0 {
		return damage("its headers end %d bytes before the tar did", r.most)
	}
	return err
}

func (r *retar) headers(tr *tar.Reader, each func(h *tar.Header) error) error {
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		var damaged *damageError
		switch {
		case err == nil:
		case r.ctx.Err() != nil:
			return context.Cause(r.ctx)
		case errors.As(err, &damaged):
			return err
		default:
			return damage("its headers: %w", err)
		}
		r.closeFile()
		r.name = h.Name
		if each != nil {
			if err := each(h); err != nil {
				return err
			}
		}
	}
}

func (r *retar) closeFile() {
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
}

// Read implements io.Reader.
func (r *retar) Read(p []byte) (int, error) {
	for r.left == 0 {
		if r.ctx.Err() != nil {
			return 0, context.Cause(r.ctx)
		}
		n, err := binary.ReadUvarint(r.frames)
		if errors.Is(err, io.EOF) {
			return 0, io.EOF
		}
		if err != nil {
			return 0, damage("its headers: %w", err)
		}
		r.left, r.skip = int64(n>>1), n&1 == 1
		if r.most -= r.left; r.most < 0 {
			return 0, damage("its headers are of a longer tar")
		}
	}
	p = p[:min(int64(len(p)), r.left)]
	n, err := r.read(p)
	r.left -= int64(n)
	return n, err
}

func (r *retar) read(p []byte) (int, error) {
	if !r.skip {
		n, err := r.frames.Read(p)
		if err != nil {
			err = damage("its headers: %w", noEOF(err))
		}
		return n, err
	}
	if r.tree < 0 {
		clear(p)
		return len(p), nil
	}
	if r.file == nil {
		f, err := openContent(r.tree, r.name)
		if err != nil {
			return 0, err
		}
		r.file = f
	}
	n, err := r.file.Read(p)
	if err == nil || n > 0 {
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		return 0, damage("%s is shorter than it was", quote(r.name))
	}
	return 0, damage("%s can't be read: %w", quote(r.name), err)
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// openContent opens the file that an entry's content went into.
func openContent(tree int, name string) (*os.File, error) {
	clean, err := cleanName(name)
	if err != nil {
		return nil, damage("its headers: %w", err)
	}
	at, err := openat2(tree, clean, unix.O_PATH|unix.O_NOFOLLOW, 0, inRoot|unix.RESOLVE_NO_XDEV)
	if err != nil {
		return nil, damage("%s can't be opened: %w", quote(name), err)
	}
	defer unix.Close(at)
	var st unix.Stat_t
	if err := unix.Fstat(at, &st); err != nil {
		return nil, os.NewSyscallError("fstat", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, damage("%s is not a file any more", quote(name))
	}
	f, err := os.OpenFile(procFD(at), os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, damage("%s can't be opened: %w", quote(name), err)
	}
	return f, nil
}

// writeTar writes the tar of a layer to out and verifies it. On an error out has got some of it, or a wrong one.
func (s *Store) writeTar(ctx context.Context, l *layerRecord, out io.Writer) error {
	if l.Headers == 0 {
		return noHeaders(l)
	}
	var h hash.Hash = l.DiffID.newHash()
	err := s.readTar(ctx, l, true, io.MultiWriter(h, out), nil)
	if err != nil {
		return err
	}
	if got := l.DiffID.sum(h); got != l.DiffID {
		return damage("the tar made of its tree has the digest %s: a file's content is not what it was", got)
	}
	return nil
}

// noHeaders says why a layer's tar can't be made again.
func noHeaders(l *layerRecord) error {
	why := l.NoHeaders
	if why == "" {
		why = "a podlet of an older version unpacked it; remove the image and pull or import it again"
	}
	return fmt.Errorf("its tar can't be made again: %s", why)
}
