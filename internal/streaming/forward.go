package streaming

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// Forward is a session of connections to ports.
type Forward struct {
	// Ports are those that a WebSocket's channels are for; with SPDY each stream names its own.
	Ports []uint16
	// Dial connects to a port. Its error goes to the client.
	Dial func(ctx context.Context, port uint16) (net.Conn, error)
}

const forwardKind = "portforward"

// Forward keeps a session for its client and gives the URL.
func (s *Server) Forward(f *Forward) (url string, err error) {
	return s.url(&request{kind: forwardKind, serve: func(w http.ResponseWriter, r *http.Request, q *session) {
		var err error
		switch {
		case !wsstream.IsWebSocketRequest(r):
			err = serveForwardSPDY(w, r, q, f)
		case strings.Contains(r.Header.Get(wsstream.WebSocketProtocolHeader), portforward.WebsocketsSPDYTunnelingPortForwardV1):
			err = serveForwardTunnel(w, r, q, f)
		default:
			err = serveForwardWebSocket(w, r, q, f)
		}
		if err != nil {
			s.log.Debug("a session did not begin or broke off", "kind", forwardKind, "error", err)
		}
	}})
}

// connect dials and puts a failure into the words that the client gets.
func (f *Forward) connect(ctx context.Context, port uint16) (net.Conn, error) {
	conn, err := f.Dial(ctx, port)
	if err != nil {
		return nil, fmt.Errorf("forward port %d: %w", port, err)
	}
	return conn, nil
}

// relay copies between a client's stream and the app's connection until both directions have ended, one has ended for good, or the session has. An
// app that resets its connection ends it: that is no error (kubernetes#74551).
func relay(q *session, stream io.ReadWriteCloser, conn net.Conn) {
	stop := context.AfterFunc(q.ctx, func() { conn.Close() })
	defer stop()
	var copying sync.WaitGroup
	var broken atomic.Bool
	copying.Go(q.guarded(func() {
		if _, err := io.Copy(struct{ io.Writer }{conn}, stream); err != nil {
			broken.Store(true) // the kernel tells of a reset once, here or below, where what the app sent before still comes
		}
		closeWrite(conn)
		// What the app doesn't want must still be read, or it would stop the streams behind it.
		io.Copy(io.Discard, stream)
	}))
	_, err := io.Copy(stream, struct{ io.Reader }{conn})
	s, half := stream.(httpstream.Stream)
	if err == nil && half && q.ctx.Err() == nil && !broken.Load() {
		// The app may still want to hear what the client, which now sees the end of its answer, has to say.
		s.Close()
		copying.Wait()
	}
	conn.Close()
	endRead(stream)
	copying.Wait()
}

func closeWrite(conn net.Conn) {
	if c, ok := conn.(interface{ CloseWrite() error }); ok {
		c.CloseWrite()
	}
}

// endRead ends a Read of the stream that waits.
func endRead(stream io.Closer) {
	if s, ok := stream.(httpstream.Stream); ok {
		// The data are the app's all the same: a reset travels behind them. Without the first the client would take it for an error.
		s.Close()
		s.Reset()
		return
	}
	stream.Close()
}

var errSession = errors.New("the session is over")
