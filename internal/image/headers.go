package image

import (
	"encoding/binary"
	"errors"
	"io"
	"os"

	"github.com/klauspost/compress/s2"
)

// A layer keeps its tar's headers: all of the tar but the contents of its files, which are in the tree. With both the tar can be made again byte for byte
// (retar.go). So an image can be exported under the id it has, and a tree can be held to what was once verified: names, types, owners and sizes without reading
// a file, and every byte by the layer's own diffID.
//
// The file is an S2 stream, whose blocks have checksums, of
//
//	uvarint(n<<1)    n bytes as they stood in the tar
//	uvarint(n<<1|1)  n bytes that are the content of the file whose header came last
//
// Contents that are not in the tree as they stood in the tar (sparse files, a body of something that has none) are kept with the headers. A layer whose tar says
// twice what is at one place, or whose headers are beyond maxHeadersFile, has no such file: noHeaders says why.
const fileHeaders = "headers"

// headersWriter takes a tar's bytes in their order, from headerGuard. nil keeps nothing.
type headersWriter struct {
	f       *os.File
	z       *s2.Writer
	written *counter
	pending []byte
	skipped int64 // content not told yet
	n       int64 // bytes of the tar so far
	// content: the bytes that come are those of a file in the tree.
	content bool
	why     string // it has ended, for this reason
	err     error  // writing failed; told by close
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// newHeaders makes the file name.
func (s *Store) newHeaders(name string) (*headersWriter, error) {
	f, err := s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	h := &headersWriter{f: f, written: &counter{w: f}, pending: make([]byte, 0, headersPiece)}
	h.z = s2.NewWriter(h.written, s2.WriterConcurrency(1), s2.WriterBlockSize(256<<10))
	return h, nil
}

const headersPiece = 32 << 10

// read is told what was read of the tar.
func (h *headersWriter) read(p []byte) {
	if h != nil {
		h.n += int64(len(p))
	}
	if h == nil || h.why != "" || h.err != nil || len(p) == 0 {
		return
	}
	if h.content {
		h.flush()
		h.skipped += int64(len(p))
		return
	}
	h.flushSkipped()
	if len(h.pending)+len(p) > headersPiece {
		h.flush()
	}
	if len(p) > headersPiece {
		h.piece(p)
		return
	}
	h.pending = append(h.pending, p...)
}

// Write implements io.Writer for what follows the archive's end.
func (h *headersWriter) Write(p []byte) (int, error) {
	h.read(p)
	return len(p), nil
}

// inTree says whether what is read from now on is a file's content, which the tree has.
func (h *headersWriter) inTree(content bool) {
	if h != nil {
		h.content = content
	}
}

// drop: the tar couldn't be made again, for this reason.
func (h *headersWriter) drop(why string) {
	if h != nil && h.why == "" {
		h.why = why
	}
}

func (h *headersWriter) flush() {
	if len(h.pending) > 0 {
		h.piece(h.pending)
		h.pending = h.pending[:0]
	}
}

func (h *headersWriter) flushSkipped() {
	if h.skipped > 0 {
		h.number(uint64(h.skipped)<<1 | 1)
		h.skipped = 0
	}
}

func (h *headersWriter) piece(p []byte) {
	h.number(uint64(len(p)) << 1)
	h.write(p)
	if h.written.n > maxHeadersFile {
		h.drop("its tar's headers are too large to be kept")
	}
}

func (h *headersWriter) number(n uint64) {
	var buf [binary.MaxVarintLen64]byte
	h.write(buf[:binary.PutUvarint(buf[:], n)])
}

func (h *headersWriter) write(p []byte) {
	if h.err == nil {
		_, h.err = h.z.Write(p)
	}
}

// close ends the file. kept is its size in bytes, or 0: then why says for what reason it is of no use.
func (h *headersWriter) close() (kept int64, why string, err error) {
	if h.why == "" {
		h.flushSkipped()
		h.flush()
	}
	err = errors.Join(h.err, h.z.Close(), h.f.Close())
	if err != nil || h.why != "" {
		return 0, h.why, err
	}
	return h.written.n, "", nil
}

// endHeaders closes h and removes the file where it is of no use.
func (s *Store) endHeaders(h *headersWriter, name string) (kept int64, why string, err error) {
	kept, why, err = h.close()
	if err != nil || kept > 0 {
		return kept, why, err
	}
	return 0, why, s.root.Remove(name)
}
