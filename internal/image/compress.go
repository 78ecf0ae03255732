package image

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

var (
	magicGzip = []byte{0x1f, 0x8b}
	magicZstd = []byte{0x28, 0xb5, 0x2f, 0xfd}
	// foreign are compressions that image layers never have by any specification, but that a person may have tried.
	foreign = map[string][]byte{"xz": {0xfd, '7', 'z', 'X', 'Z', 0}, "bzip2": []byte("BZh")}
)

// decompress gives the plain bytes of r, which is plain, gzip or zstd: what it is, its first bytes say. Close frees the decoder and leaves r alone.
func decompress(r io.Reader) (io.ReadCloser, error) {
	buffered := bufio.NewReaderSize(r, 32<<10)
	head, err := buffered.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, magicGzip):
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, invalid("gzip: %w", err)
		}
		return z, nil
	case bytes.HasPrefix(head, magicZstd):
		// One goroutine: the decoder then has none of its own that could be left behind.
		z, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, invalid("zstd: %w", err)
		}
		return z.IOReadCloser(), nil
	}
	for name, magic := range foreign {
		if bytes.HasPrefix(head, magic) {
			return nil, invalid("compressed with %s: want gzip, zstd or none", name)
		}
	}
	return io.NopCloser(buffered), nil
}

func isCompressed(head []byte) bool {
	return bytes.HasPrefix(head, magicGzip) || bytes.HasPrefix(head, magicZstd) || bytes.HasPrefix(head, foreign["xz"]) || bytes.HasPrefix(head, foreign["bzip2"])
}
