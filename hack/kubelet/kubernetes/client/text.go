package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
)

// noise is so many bytes that look random and are the same each time.
func noise(size int64) io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{}), size) }

// comparison takes what is written and compares it with what should be.
type comparison struct {
	want io.Reader
	have []byte
	got  int64 // bytes, all of them as they should be
	bad  error // nil: none wasn't
}

func (c *comparison) Write(p []byte) (int, error) {
	if c.bad != nil {
		return 0, c.bad
	}
	if len(c.have) < len(p) {
		c.have = make([]byte, len(p))
	}
	want := c.have[:len(p)]
	if n, err := io.ReadFull(c.want, want); err != nil {
		c.bad = fmt.Errorf("%d bytes more than were sent: %w", len(p)-n, err)
		return 0, c.bad
	}
	if !bytes.Equal(p, want) {
		c.bad = fmt.Errorf("what was sent and what came differ within %d bytes from byte %d on", len(p), c.got)
		return 0, c.bad
	}
	c.got += int64(len(p))
	return len(p), nil
}

// keyboard is a stdin that somebody types at. It never ends.
type keyboard struct {
	io.Reader
	in *io.PipeWriter
}

func newKeyboard() *keyboard {
	r, in := io.Pipe()
	return &keyboard{r, in}
}

// typed hands a text over without waiting until it is taken.
func (k *keyboard) typed(text string) { go io.WriteString(k.in, text) }

// transcript is what a session has said so far and nobody waited for.
type transcript struct {
	mu   sync.Mutex
	text string
	over bool
	more chan struct{} // of one: there is something new
}

func newTranscript() *transcript { return &transcript{more: make(chan struct{}, 1)} }

func (t *transcript) Write(p []byte) (int, error) {
	t.change(func() { t.text += string(p) })
	return len(p), nil
}

// end says that no more comes.
func (t *transcript) end() { t.change(func() { t.over = true }) }

func (t *transcript) change(do func()) {
	t.mu.Lock()
	do()
	t.mu.Unlock()
	select {
	case t.more <- struct{}{}:
	default:
	}
}

// until waits for a text, and forgets it and all before it.
func (t *transcript) until(ctx context.Context, want string) error {
	for {
		t.mu.Lock()
		text, over := t.text, t.over
		_, rest, found := strings.Cut(text, want)
		if found {
			t.text = rest
		}
		t.mu.Unlock()
		if found {
			return nil
		}
		if over {
			return fmt.Errorf("the session ended, having said %q: want %q in it", text, want)
		}
		select {
		case <-t.more:
		case <-ctx.Done():
			return fmt.Errorf("it said %q: want %q in it: %w", text, want, context.Cause(ctx))
		}
	}
}
