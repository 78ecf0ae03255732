package streaming

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/moby/spdystream"
	"github.com/moby/spdystream/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

const (
	// headersMost and headerMostBytes bound what a frame's headers unpack to: so many, with names and values of so many bytes. Those of Kubernetes
	// are three. Packed, an endless row of zeros has a thousandth of its size.
	headersMost     = 16
	headerMostBytes = 512
)

// spdyVersion is the name of the protocol in the upgrade.
const spdyVersion = "SPDY/3.1"

// accept takes a stream that a client opens. It must not wait. An error makes the transport reset the stream.
type accept func(httpstream.Stream) error

// upgradeSPDY answers the request with the upgrade and serves its frames until the session's end.
//
// The connection is spdystream's own: that of k8s.io/streaming sets no bounds to headers, and answers streams of clients that are gone.
func upgradeSPDY(w http.ResponseWriter, r *http.Request, q *session, take accept) (*spdystream.Connection, error) {
	h := r.Header
	if !strings.Contains(strings.ToLower(h.Get("Connection")), "upgrade") || !strings.EqualFold(h.Get("Upgrade"), spdyVersion) {
		err := errors.New("the request asks neither for " + spdyVersion + " nor for a WebSocket")
		http.Error(w, err.Error(), http.StatusBadRequest)
		return nil, err
	}
	m := newSPDYMeter(&q.server.backlog)
	q.meter = m
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", spdyVersion)
	w.WriteHeader(http.StatusSwitchingProtocols)
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, fmt.Errorf("upgrade to %s: %w", spdyVersion, err)
	}
	return serveSPDY(&bufferedConn{conn, rw.Reader}, q, m, take)
}

// bufferedConn is read from in large pieces.
type bufferedConn struct {
	net.Conn
	reader *bufio.Reader
}

func (c *bufferedConn) Read(p []byte) (int, error) { return c.reader.Read(p) }

// serveSPDY serves the frames of a connection, which m measures, until its end.
func serveSPDY(conn net.Conn, q *session, m *spdyMeter, take accept) (*spdystream.Connection, error) {
	c, err := spdystream.NewConnectionWithOptions(conn, true,
		spdy.WithMaxControlFramePayloadSize(controlMost), spdy.WithMaxHeaderCount(headersMost), spdy.WithMaxHeaderFieldSize(headerMostBytes))
	if err != nil {
		return nil, fmt.Errorf("serve %s: %w", spdyVersion, err)
	}
	go c.Serve(func(opened *spdystream.Stream) {
		q.guarded(func() {
			s := &stream{opened, m}
			if take(s) != nil {
				s.Reset()
			}
		})()
	})
	return c, nil
}

// stream is one of SPDY's whose reading is counted.
type stream struct {
	httpstream.Stream
	meter *spdyMeter
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	if n > 0 {
		s.meter.taken(s.Identifier(), n)
	}
	return n, err
}

// Reset ends the stream in both directions.
func (s *stream) Reset() error {
	err := s.Stream.Reset()
	s.meter.drop(s.Identifier())
	return err
}

// answer tells the client that its stream is accepted.
func answer(s httpstream.Stream) error {
	counted, ok := s.(*stream)
	if !ok {
		return fmt.Errorf("a stream of type %T", s)
	}
	replier, ok := counted.Stream.(interface {
		SendReply(http.Header, bool) error
	})
	if !ok {
		return fmt.Errorf("a stream of type %T", counted.Stream)
	}
	return replier.SendReply(http.Header{}, false)
}
