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
	sent := make(chan struct{}) // closed when the app has all that the client says, or takes no more
	copying.Go(q.guarded(func() {
		io.Copy(struct{ io.Writer }{conn}, stream)
		closeWrite(conn)
		close(sent)
		// What the app doesn't want must still be read, or it would stop the streams behind it.
		io.Copy(io.Discard, stream)
	}))
	_, err := io.Copy(stream, struct{ io.Reader }{conn})
	if s, half := stream.(httpstream.Stream); half && err == nil {
		// The app may still want to hear what the client, which now sees the end of its answer, has to say. The kernel tells of an app's reset once, here or
		// to who writes to it.
		s.Close()
		select {
		case <-sent:
		case <-q.ctx.Done():
		}
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
		// The client sees the end, and has all that came before it; of a reset it would lose what it has not read yet, and take it for an error. Behind the
		// end Reset sends none: it ends the Read, and the transport drops what the client still sends.
		s.Close()
		s.Reset()
		return
	}
	stream.Close()
}

var errSession = errors.New("the session is over")
