package streaming

import (
	"encoding/binary"
	"fmt"
	"net"
)

const (
	// controlMost bounds a SPDY control frame in bytes. What opens a stream has some hundred; unpacked, such a frame is at most a
	// thousand times as large, and that is what it may cost (CVE-2026-35469).
	controlMost = 16 << 10
	// dataMost bounds a data frame in bytes. Kubernetes' clients send 32 KiB at most; the transport queues 250 frames.
	dataMost = 128 << 10
)

// gauge reads along the frames that a SPDY client sends, and refuses what would cost too much memory before the transport has made room for it.
type gauge struct {
	header [8]byte
	have   int    // bytes of the header
	body   uint32 // bytes that are still to come of the frame
}

// take looks at the next bytes of the connection. A SPDY/3.1 frame begins with 8 bytes, of which the first bit tells control from data and
// the last 24 are the length of what follows.
func (g *gauge) take(p []byte) error {
	for len(p) > 0 {
		if g.body > 0 {
			n := min(uint32(len(p)), g.body)
			g.body -= n
			p = p[n:]
			continue
		}
		n := copy(g.header[g.have:], p)
		g.have += n
		p = p[n:]
		if g.have < len(g.header) {
			return nil
		}
		g.have = 0
		g.body = binary.BigEndian.Uint32(g.header[4:]) & 0xffffff
		most := uint32(dataMost)
		if g.header[0]&0x80 != 0 {
			most = controlMost
		}
		if g.body > most {
			return fmt.Errorf("the client sent a SPDY frame of %d bytes; %d is the limit", g.body, most)
		}
	}
	return nil
}

// gauged is a connection inside another one, measured as a wire is.
type gauged struct {
	net.Conn
	session *session
	gauge   gauge
}

func (c *gauged) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if bad := c.gauge.take(p[:n]); bad != nil {
		c.session.cancel(bad)
		return 0, bad
	}
	return n, err
}
