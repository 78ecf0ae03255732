package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	"podlet/internal/image"
)

// blob is a download that goes on where it broke off, at the same host or at the next. Whether the bytes are right, their digest tells whoever reads them.
type blob struct {
	ctx    context.Context
	r      *remote
	digest image.Digest
	what   string
	size   int64
	n      int64 // bytes given
	// counted is n for those who watch the pull.
	counted *atomic.Int64
	from    *client
	body    io.ReadCloser
	closed  bool
	// repeats are left; each repeatBytes earn another: a connection that breaks after every few bytes mustn't go on for ever.
	repeats int
	earned  int64
}

const repeatBytes = 256 << 10

// open asks the hosts for the bytes from n on.
func (b *blob) open() error {
	return b.r.each(b.ctx, false, b.what, func(c *client) error {
		if b.r.isWrong(b.digest, c) {
			return fail(image.ErrInvalid, "%s: what it sent is malformed or has another digest", shown(c.host.URL))
		}
		q := b.r.request(c, b.what, []string{"*/*"})
		q.from = b.n
		answer, err := c.get(b.ctx, q)
		if err != nil {
			return err
		}
		if err := b.take(c, answer); err != nil {
			answer.Body.Close()
			return err
		}
		b.from, b.body = c, answer.Body
		if b.n == 0 {
			b.r.sends(b.digest, c)
		}
		return nil
	})
}

// take checks that an answer is what was asked for, and leaves it at byte n.
func (b *blob) take(c *client, answer *http.Response) error {
	at := shown(c.host.URL)
	if encoding := answer.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return fail(ErrUnavailable, "%s: it sends the blob encoded, which was not asked for", at)
	}
	if answer.StatusCode == http.StatusPartialContent {
		want := fmt.Sprintf("bytes %d-", b.n)
		if got := answer.Header.Get("Content-Range"); !strings.HasPrefix(got, want) {
			return fail(ErrUnavailable, "%s: it sends another range than was asked for", at)
		}
		if l := answer.ContentLength; l >= 0 && l != b.size-b.n {
			return fail(image.ErrInvalid, "%s: %d bytes from byte %d on: the blob's descriptor says %d in all", at, l, b.n, b.size)
		}
		return nil
	}
	if l := answer.ContentLength; l >= 0 && l != b.size {
		return fail(image.ErrInvalid, "%s: %d bytes: the blob's descriptor says %d", at, l, b.size)
	}
	// It knows no ranges: what was had already passes by.
	if _, err := io.CopyN(io.Discard, &watchedReader{answer.Body, b.r.watch}, b.n); err != nil {
		return c.explainRead(b.ctx, err)
	}
	return nil
}

// Read implements io.Reader.
func (b *blob) Read(p []byte) (int, error) {
	for {
		n, err := b.body.Read(p)
		b.n += int64(n)
		b.r.watch.add(int64(n))
		b.counted.Store(b.n)
		if err == nil {
			return n, nil
		}
		if b.n >= b.size {
			// However the connection ends, all came that is wanted. There is no range after the last byte to ask for.
			return n, io.EOF
		}
		if n > 0 {
			// What broke shows again at the next read.
			return n, nil
		}
		if b.ctx.Err() != nil {
			return 0, context.Cause(b.ctx)
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err := b.again(b.from.explainRead(b.ctx, err)); err != nil {
			return 0, err
		}
	}
}

// again opens anew after a break.
func (b *blob) again(broke error) error {
	b.repeats += int((b.n - b.earned) / repeatBytes)
	b.earned += (b.n - b.earned) / repeatBytes * repeatBytes
	b.repeats = min(b.repeats, maxRepeats)
	if b.repeats == 0 {
		return &failure{kind: kindOf(broke), text: fmt.Sprintf("%s: broke off at byte %d of %d, repeatedly: %v", b.what, b.n, b.size, broke), err: broke}
	}
	b.repeats--
	b.body.Close()
	if err := b.from.sleep(b.ctx, firstWait); err != nil {
		return err
	}
	return b.open()
}

// Close implements io.Closer. How the connection ends says nothing of the blob: it gives no error.
func (b *blob) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	b.r.watch.leave()
	b.body.Close()
	return nil
}

// explainRead gives a broken body its kind.
func (c *client) explainRead(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return &failure{kind: ErrUnavailable, text: shown(c.host.URL) + ": " + c.secrets.cleanShort(err.Error()), err: err}
}
