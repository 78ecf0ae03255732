package streaming

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/moby/spdystream"
	"golang.org/x/net/websocket"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/streaming/pkg/httpstream"
)

// forwardMost is how many connections one session may have at a time.
const forwardMost = 1000

// forwardSPDY is a session over SPDY/3.1: for each connection the client opens a stream of data and one for the error, both with the port and
// the connection's name in their headers.
type forwardSPDY struct {
	session *session
	forward *Forward

	mu     sync.Mutex
	closed bool
	// pairs are those of which one stream is missing, live those that are forwarded.
	pairs map[string]*pair
	live  map[*pair]bool
	work  sync.WaitGroup
}

// pair are the two streams of a connection.
type pair struct {
	port        uint16
	data, error httpstream.Stream
	answered    int
	timer       *time.Timer
}

func newForwardSPDY(q *session, f *Forward) *forwardSPDY {
	return &forwardSPDY{session: q, forward: f, pairs: map[string]*pair{}, live: map[*pair]bool{}}
}

func serveForwardSPDY(w http.ResponseWriter, r *http.Request, q *session, f *Forward) error {
	if _, err := httpstream.Handshake(r, w, portforward.SupportedProtocols); err != nil {
		return err
	}
	s := newForwardSPDY(q, f)
	conn, err := upgradeSPDY(w, r, q, s.accept)
	if err != nil {
		return err
	}
	s.serve(conn)
	return nil
}

// serveForwardTunnel serves SPDY inside the messages of a WebSocket.
func serveForwardTunnel(w http.ResponseWriter, r *http.Request, q *session, f *Forward) error {
	var failed error
	websocket.Server{
		Handshake: func(c *websocket.Config, _ *http.Request) error {
			c.Protocol = []string{portforward.WebsocketsSPDYTunnelingPortForwardV1}
			return nil
		},
		Handler: func(ws *websocket.Conn) {
			ws.PayloadType = websocket.BinaryFrame
			s := newForwardSPDY(q, f)
			m := newSPDYMeter(&q.server.backlog)
			defer m.end()
			conn, err := serveSPDY(&meteredConn{Conn: ws, session: q, meter: m}, q, m, s.accept)
			if err != nil {
				failed = err
				return
			}
			s.serve(conn)
		},
	}.ServeHTTP(w, r)
	return failed
}

// meteredConn is a connection inside another one, metered as a wire is.
type meteredConn struct {
	net.Conn
	session *session
	meter   meter
}

func (c *meteredConn) Read(p []byte) (int, error) { return c.session.metered(c.meter, c.Conn.Read, p) }

// serve waits for the session's end.
func (s *forwardSPDY) serve(conn *spdystream.Connection) {
	select {
	case <-s.session.ctx.Done():
	case <-conn.CloseChan():
	}
	s.session.over.Store(true)
	s.session.cancel(errGone)
	s.mu.Lock()
	s.closed = true
	var streams []httpstream.Stream
	for _, p := range s.pairs {
		p.timer.Stop()
		streams = append(streams, p.data, p.error)
	}
	for p := range s.live {
		streams = append(streams, p.data, p.error)
	}
	s.mu.Unlock()
	reset(streams...)
	conn.Close()
	s.work.Wait()
}

func reset(streams ...httpstream.Stream) {
	for _, stream := range streams {
		if stream != nil {
			stream.Reset()
		}
	}
}

// accept takes a stream; an error makes the transport reset it.
func (s *forwardSPDY) accept(stream httpstream.Stream) error {
	name := stream.Headers().Get(portforward.PortForwardRequestIDHeader)
	p, err := s.place(name, stream)
	if err != nil {
		return err
	}
	if err := answer(stream); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.pairs[name] != p {
		return errSession // or the pair's time is over
	}
	if p.answered++; p.answered < 2 {
		return nil
	}
	p.timer.Stop()
	delete(s.pairs, name)
	s.live[p] = true
	s.work.Go(s.session.guarded(func() { s.serveOne(p) }))
	return nil
}

// place puts a stream into its pair.
func (s *forwardSPDY) place(name string, stream httpstream.Stream) (*pair, error) {
	h := stream.Headers()
	port, err := strconv.ParseUint(h.Get(portforward.PortHeader), 10, 16)
	if err != nil || port == 0 {
		return nil, fmt.Errorf("a stream for port %.20q", h.Get(portforward.PortHeader))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errSession
	}
	p := s.pairs[name]
	if p == nil {
		if len(s.pairs)+len(s.live) >= forwardMost {
			return nil, fmt.Errorf("more than %d connections in one session", forwardMost)
		}
		p = &pair{port: uint16(port)}
		p.timer = time.AfterFunc(s.session.server.limits.Handshake, func() { s.expire(name, p) })
		s.pairs[name] = p
	}
	switch kind := h.Get(portforward.StreamType); {
	case kind == portforward.StreamTypeData && p.data == nil:
		p.data = stream
	case kind == portforward.StreamTypeError && p.error == nil:
		p.error = stream
	default:
		return nil, fmt.Errorf("a stream of type %.20q, or a second one, for connection %.20q", kind, name)
	}
	return p, nil
}

// expire gives a pair up that the client doesn't complete.
func (s *forwardSPDY) expire(name string, p *pair) {
	s.mu.Lock()
	if s.pairs[name] != p {
		s.mu.Unlock()
		return
	}
	delete(s.pairs, name)
	s.mu.Unlock()
	s.drop(p)
}

// drop ends a pair's streams.
func (s *forwardSPDY) drop(p *pair) {
	reset(p.data, p.error)
}

// serveOne forwards one connection. Whatever becomes of it, the session lives on.
func (s *forwardSPDY) serveOne(p *pair) {
	defer func() {
		s.drop(p)
		s.mu.Lock()
		delete(s.live, p)
		s.mu.Unlock()
	}()
	conn, err := s.forward.connect(s.session.ctx, p.port)
	if err != nil {
		io.WriteString(p.error, err.Error())
		p.error.Close()
		return
	}
	// There is no error any more. Some clients wait to hear that before they end their side of the data.
	p.error.Close()
	relay(s.session, p.data, conn)
}
