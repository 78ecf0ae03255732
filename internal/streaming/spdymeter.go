package streaming

import (
	"context"
	"encoding/binary"
	"fmt"
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

// spdyMeter is the meter of SPDY's frames. The transport queues 250 of them, whatever their size.
type spdyMeter struct {
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

func newSPDYMeter(b *backlog) *spdyMeter { return &spdyMeter{backlog: b, streams: map[uint32]int64{}} }

func (m *spdyMeter) wait(ctx context.Context) error {
	return m.backlog.await(ctx, func() bool {
		waits := m.total - m.partial
		return waits <= sessionLeast || waits <= sessionMost && m.backlog.used <= m.backlog.most
	})
}

// take follows the frames. One begins with 8 bytes, of which the first bit tells control from data and the last 24 are the length of what follows; the
// rest of the first four is a control frame's version and type, or the stream of the data. What opens a stream goes on with its number and that of the
// stream it belongs to, SETTINGS with the number of settings.
func (m *spdyMeter) take(p []byte) error {
	for len(p) > 0 {
		if m.body > 0 {
			n := min(uint32(len(p)), m.body)
			m.body -= n
			p = p[n:]
			if m.body == 0 {
				m.whole()
			}
			continue
		}
		n := copy(m.header[m.have:m.needs()], p)
		m.have += n
		p = p[n:]
		if n > 0 && m.have == 8 {
			if err := m.check(); err != nil {
				return err
			}
		}
		if m.have < m.needs() {
			continue
		}
		if err := m.checkMore(); err != nil {
			return err
		}
		m.begin()
		m.have = 0
	}
	return nil
}

func (m *spdyMeter) control() bool  { return m.header[0]&0x80 != 0 }
func (m *spdyMeter) kind() uint16   { return binary.BigEndian.Uint16(m.header[2:]) }
func (m *spdyMeter) length() uint32 { return binary.BigEndian.Uint32(m.header[4:]) & 0xffffff }

// needs is how many bytes the header has, as far as what is there of it tells.
func (m *spdyMeter) needs() int {
	if m.have < 8 || !m.control() {
		return 8
	}
	switch m.kind() {
	case frameSynStream:
		return 16
	case frameSettings:
		return 12
	}
	return 8
}

// check looks at the first 8 bytes. The transport reads what a frame of its type has, whatever length it gives: in one that is longer, a client could
// hide others.
func (m *spdyMeter) check() error {
	least, most := uint32(0), uint32(dataMost)
	if m.control() {
		switch m.kind() {
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
			return fmt.Errorf("the client sent a SPDY frame of type %d, which no session has a use for", m.kind())
		}
	}
	if m.length() < least {
		return fmt.Errorf("the client sent a SPDY frame of type %d with %d bytes; it has %d at least", m.kind(), m.length(), least)
	}
	if m.length() > most {
		return fmt.Errorf("the client sent a SPDY frame of %d bytes; %d is the limit", m.length(), most)
	}
	return nil
}

// checkMore looks at what some control frames have behind that.
func (m *spdyMeter) checkMore() error {
	switch m.have {
	case 12:
		if n := binary.BigEndian.Uint32(m.header[8:]); uint64(m.length()) != 4+8*uint64(n) {
			return fmt.Errorf("the client sent SPDY settings that say they are %d, in %d bytes", n, m.length())
		}
	case 16:
		// For a number that is no new one the transport starts a goroutine that tells the client, who may not listen. A stream that belongs to
		// another one keeps that for as long as it lives itself, and so on.
		id, parent := binary.BigEndian.Uint32(m.header[8:]), binary.BigEndian.Uint32(m.header[12:])
		if id <= m.opened || id > 0x7fffffff {
			return fmt.Errorf("the client opened SPDY stream %d behind %d", id, m.opened)
		}
		if parent != 0 {
			return fmt.Errorf("the client opened SPDY stream %d as part of %d, which no session has a use for", id, parent)
		}
		m.opened = id
	}
	return nil
}

// begin counts a frame whose header is there.
func (m *spdyMeter) begin() {
	m.body = m.length() - uint32(m.have-8)
	b := m.backlog
	b.mu.Lock()
	defer b.mu.Unlock()
	if m.streams == nil {
		return
	}
	if m.control() {
		if m.have == 16 {
			m.streams[m.opened] += 0
		}
		return
	}
	id := binary.BigEndian.Uint32(m.header[:]) & 0x7fffffff
	if _, open := m.streams[id]; open && m.body > 0 { // the transport drops the others
		size := int64(m.body)
		m.streams[id] += size
		m.total += size
		m.partial = size
		b.add(size)
	}
}

// whole says that all of a frame is there.
func (m *spdyMeter) whole() {
	m.backlog.mu.Lock()
	defer m.backlog.mu.Unlock()
	m.partial = 0
}

// taken says that somebody has read so many bytes of a stream.
func (m *spdyMeter) taken(id uint32, n int) {
	b := m.backlog
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, open := m.streams[id]; open {
		m.streams[id] -= int64(n)
		m.total -= int64(n)
		b.add(-int64(n))
	}
}

// drop forgets a stream, with what waits of it: the transport does, too.
func (m *spdyMeter) drop(id uint32) {
	b := m.backlog
	b.mu.Lock()
	defer b.mu.Unlock()
	m.total -= m.streams[id]
	b.add(-m.streams[id])
	delete(m.streams, id)
}

func (m *spdyMeter) end() {
	b := m.backlog
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(-m.total)
	m.total, m.streams = 0, nil
}
