package streaming

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"

	"k8s.io/streaming/pkg/httpstream"
)

const (
	// controlMost bounds a SPDY control frame in bytes (CVE-2026-35469). What opens a stream has some hundred.
	controlMost = 16 << 10
	// dataMost bounds a data frame in bytes. Kubernetes' clients send 32 KiB at most.
	dataMost = 128 << 10
)

// Control frames of SPDY/3.1 that clients of sessions send.
const (
	frameSynStream = 1
	frameReset     = 3
	frameSettings  = 4
	framePing      = 6
	frameGoAway    = 7
	frameWindow    = 9
)

// gauge is the meter of SPDY's frames. The transport queues 250 of them, whatever their size.
type gauge struct {
	backlog *backlog

	header [16]byte
	have   int    // bytes of the header
	body   uint32 // bytes that are still to come of the frame
	opened uint32 // the number of the last stream that the client opened

	// Guarded by backlog.mu.

	// streams are those that the client has opened and the session has not dropped, with what waits of each; nil after end.
	streams map[uint32]int64
	total   int64 // of streams
	partial int64 // the size of the data frame that is still coming: nobody can take it yet
}

func newGauge(b *backlog) *gauge { return &gauge{backlog: b, streams: map[uint32]int64{}} }

func (g *gauge) wait(ctx context.Context) error {
	return g.backlog.await(ctx, func() bool {
		waits := g.total - g.partial
		return waits <= sessionLeast || waits <= sessionMost && g.backlog.used <= g.backlog.most
	})
}

// take follows the frames. One begins with 8 bytes, of which the first bit tells control from data and the last 24 are the length of what follows; the
// rest of the first four is a control frame's version and type, or the stream of the data. What opens a stream goes on with its number and that of the
// stream it belongs to, SETTINGS with the number of settings.
func (g *gauge) take(p []byte) error {
	for len(p) > 0 {
		if g.body > 0 {
			n := min(uint32(len(p)), g.body)
			g.body -= n
			p = p[n:]
			if g.body == 0 {
				g.whole()
			}
			continue
		}
		n := copy(g.header[g.have:g.needs()], p)
		g.have += n
		p = p[n:]
		if n > 0 && g.have == 8 {
			if err := g.check(); err != nil {
				return err
			}
		}
		if g.have < g.needs() {
			continue
		}
		if err := g.checkMore(); err != nil {
			return err
		}
		g.begin()
		g.have = 0
	}
	return nil
}

func (g *gauge) control() bool  { return g.header[0]&0x80 != 0 }
func (g *gauge) kind() uint16   { return binary.BigEndian.Uint16(g.header[2:]) }
func (g *gauge) length() uint32 { return binary.BigEndian.Uint32(g.header[4:]) & 0xffffff }

// needs is how many bytes the header has, as far as what is there of it tells.
func (g *gauge) needs() int {
	if g.have < 8 || !g.control() {
		return 8
	}
	switch g.kind() {
	case frameSynStream:
		return 16
	case frameSettings:
		return 12
	}
	return 8
}

// check looks at the first 8 bytes. The transport reads what a frame of its type has, whatever length it gives: in one that is longer, a client could
// hide others.
func (g *gauge) check() error {
	least, most := uint32(0), uint32(dataMost)
	if g.control() {
		switch g.kind() {
		case frameSynStream:
			least, most = 10, controlMost
		case frameSettings:
			least, most = 4, controlMost
		case frameReset, frameGoAway, frameWindow:
			least, most = 8, 8
		case framePing:
			least, most = 4, 4
		default:
			// HEADERS above all: nobody takes them, and they would wait, unpacked, for as long as their stream is there.
			return fmt.Errorf("the client sent a SPDY frame of type %d, which no session has a use for", g.kind())
		}
	}
	if g.length() < least {
		return fmt.Errorf("the client sent a SPDY frame of type %d with %d bytes; it has %d at least", g.kind(), g.length(), least)
	}
	if g.length() > most {
		return fmt.Errorf("the client sent a SPDY frame of %d bytes; %d is the limit", g.length(), most)
	}
	return nil
}

// checkMore looks at what some control frames have behind that.
func (g *gauge) checkMore() error {
	switch g.have {
	case 12:
		if n := binary.BigEndian.Uint32(g.header[8:]); uint64(g.length()) != 4+8*uint64(n) {
			return fmt.Errorf("the client sent SPDY settings that say they are %d, in %d bytes", n, g.length())
		}
	case 16:
		// For a number that is no new one the transport starts a goroutine that tells the client, who may not listen. A stream that belongs to
		// another one keeps that for as long as it lives itself, and so on.
		id, parent := binary.BigEndian.Uint32(g.header[8:]), binary.BigEndian.Uint32(g.header[12:])
		if id <= g.opened || id > 0x7fffffff {
			return fmt.Errorf("the client opened SPDY stream %d behind %d", id, g.opened)
		}
		if parent != 0 {
			return fmt.Errorf("the client opened SPDY stream %d as part of %d, which no session has a use for", id, parent)
		}
		g.opened = id
	}
	return nil
}

// begin counts a frame whose header is there.
func (g *gauge) begin() {
	g.body = g.length() - uint32(g.have-8)
	b := g.backlog
	b.mu.Lock()
	defer b.mu.Unlock()
	if g.streams == nil {
		return
	}
	if g.control() {
		if g.have == 16 {
			g.streams[g.opened] += 0
		}
		return
	}
	id := binary.BigEndian.Uint32(g.header[:]) & 0x7fffffff
	if _, open := g.streams[id]; open && g.body > 0 { // the transport drops the others
		size := int64(g.body)
		g.streams[id] += size
		g.total += size
		g.partial = size
		b.add(size)
	}
}

// whole says that all of a frame is there.
func (g *gauge) whole() {
	g.backlog.mu.Lock()
	defer g.backlog.mu.Unlock()
	g.partial = 0
}

// taken says that somebody has read so many bytes of a stream.
func (g *gauge) taken(id uint32, n int) {
	b := g.backlog
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, open := g.streams[id]; open {
		g.streams[id] -= int64(n)
		g.total -= int64(n)
		b.add(-int64(n))
	}
}

// drop forgets a stream, with what waits of it: the transport does, too.
func (g *gauge) drop(id uint32) {
	b := g.backlog
	b.mu.Lock()
	defer b.mu.Unlock()
	g.total -= g.streams[id]
	b.add(-g.streams[id])
	delete(g.streams, id)
}

func (g *gauge) end() {
	b := g.backlog
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(-g.total)
	g.total, g.streams = 0, nil
}

// stream is one of SPDY's whose reading is counted.
type stream struct {
	httpstream.Stream
	gauge *gauge
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	if n > 0 {
		s.gauge.taken(s.Identifier(), n)
	}
	return n, err
}

// Reset ends the stream in both directions.
func (s *stream) Reset() error {
	err := s.Stream.Reset()
	s.gauge.drop(s.Identifier())
	return err
}

// measured is a connection inside another one, measured as a wire is.
type measured struct {
	net.Conn
	session *session
	meter   meter
}

func (c *measured) Read(p []byte) (int, error) { return c.session.metered(c.meter, c.Conn.Read, p) }
