package streaming

import (
	"context"
	"encoding/binary"
	"fmt"
)

// messageMost bounds a WebSocket's message in bytes; it is the transport's own limit.
const messageMost = 32 << 20

// webSocketMeter is the meter of a WebSocket's frames. The transport reads the next one when the one before was taken, and makes room for all of it.
type webSocketMeter struct {
	backlog *backlog

	header [14]byte
	have   int   // bytes of the header
	body   int64 // bytes that are still to come of the frame
	asked  int64 // of the backlog, for the frame that is to come
	whole  bool  // all of the frame that held is for has come

	// held is what the frame has of the backlog. Guarded by backlog.mu, as is ended.
	held  int64
	ended bool
}

// wait lets a message in when there is room for it, a small one always. One that is larger than all room comes alone.
func (m *webSocketMeter) wait(ctx context.Context) error {
	if m.whole {
		m.release() // not before: the next frame may come together with this one's end, and the transport reads on when that was taken
		m.whole = false
	}
	if m.asked == 0 {
		return nil
	}
	b := m.backlog
	return b.await(ctx, func() bool {
		if m.ended || b.used > 0 && b.used+m.asked > b.most {
			return m.ended
		}
		b.add(m.asked)
		m.held, m.asked = m.asked, 0
		return true
	})
}

// take follows the frames (RFC 6455, 5.2): the second byte tells with its lowest seven bits how many bytes the length has, with its highest whether a
// mask of four bytes follows.
func (m *webSocketMeter) take(p []byte) error {
	for len(p) > 0 {
		if m.body > 0 {
			n := min(int64(len(p)), m.body)
			m.body -= n
			m.whole = m.whole || m.body == 0
			p = p[n:]
			continue
		}
		n := copy(m.header[m.have:m.needs()], p)
		m.have += n
		p = p[n:]
		if m.have < m.needs() {
			continue
		}
		if m.have == 2 && m.needs() > 2 {
			continue
		}
		if err := m.begin(); err != nil {
			return err
		}
		m.have = 0
	}
	return nil
}

// needs is how many bytes the header has, as far as what is there of it tells.
func (m *webSocketMeter) needs() int {
	if m.have < 2 {
		return 2
	}
	n := 2 + m.lengthBytes()
	if m.header[1]&0x80 != 0 {
		n += 4
	}
	return n
}

func (m *webSocketMeter) lengthBytes() int {
	switch m.header[1] & 0x7f {
	case 126:
		return 2
	case 127:
		return 8
	}
	return 0
}

func (m *webSocketMeter) begin() error {
	length := uint64(m.header[1] & 0x7f)
	switch m.lengthBytes() {
	case 2:
		length = uint64(binary.BigEndian.Uint16(m.header[2:]))
	case 8:
		length = binary.BigEndian.Uint64(m.header[2:])
	}
	if length > messageMost {
		return fmt.Errorf("the client sent a WebSocket message of %d bytes; %d is the limit", length, messageMost)
	}
	m.body = int64(length)
	if m.body > sessionLeast {
		m.asked = 2 * m.body // the transport's buffer grows as it is filled
	}
	return nil
}

func (m *webSocketMeter) release() {
	m.backlog.mu.Lock()
	defer m.backlog.mu.Unlock()
	m.backlog.add(-m.held)
	m.held = 0
}

func (m *webSocketMeter) end() {
	m.release()
	m.backlog.mu.Lock()
	defer m.backlog.mu.Unlock()
	m.ended = true
}
