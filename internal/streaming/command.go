package streaming

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"golang.org/x/sys/unix"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// Command is a session with a process: exec or attach.
type Command struct {
	// Kind is "exec" or "attach".
	Kind string
	// Stdin, Stdout and Stderr say which streams the session has, TTY that its window may change.
	Stdin, Stdout, Stderr, TTY bool
	// Run gets the client's streams and returns when all that is to be written has been. The session ends with ctx, and Run must then return
	// context.Cause(ctx). The code is the process's, as shells have it; it and the error become the session's status.
	Run func(ctx context.Context, streams *Streams) (code int, err error)
}

// Streams are the client's ends of a process's standard streams. Those that the session doesn't have are nil.
type Streams struct {
	// Stdin ends where the client ends it. Close ends a Read that waits; whoever gets the Streams is to close it.
	Stdin io.ReadCloser
	// Stdout and Stderr block while the client doesn't read, and fail once it is gone.
	Stdout, Stderr io.Writer
	// Resize gives the latest two sizes of the client's window, in order. It is never closed.
	Resize <-chan unix.Winsize
}

// Command keeps a session for its client and gives the URL.
func (s *Server) Command(c *Command) (url string, err error) {
	return s.url(&request{kind: c.Kind, serve: func(w http.ResponseWriter, r *http.Request, q *session) { s.serveCommand(w, r, q, c) }})
}

// commandConn is a session's streams over one of the transports.
type commandConn interface {
	streams() *Streams
	// tell writes the status behind all that was written before.
	tell(status) error
	// close ends the transport and waits for what it runs of podlet's.
	close()
}

func (s *Server) serveCommand(w http.ResponseWriter, r *http.Request, q *session, c *Command) {
	var conn commandConn
	var err error
	if wsstream.IsWebSocketRequest(r) {
		conn, err = openCommandWebSocket(w, r, q, c)
	} else {
		conn, err = openCommandSPDY(w, r, q, c)
	}
	if err != nil {
		s.log.Debug("a session did not begin", "kind", c.Kind, "error", err)
		return
	}
	defer conn.close()
	code, err := run(q.ctx, c, conn.streams())
	if err != nil {
		s.log.Info("a session failed", "kind", c.Kind, "error", err)
	}
	if err := conn.tell(statusOf(code, err)); err != nil {
		s.log.Debug("a client did not hear its session's status", "kind", c.Kind, "error", err)
	}
}

// run makes an error of a panic: net/http would swallow it.
func run(ctx context.Context, c *Command, streams *Streams) (code int, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("podlet panicked: %v", p)
		}
	}()
	return c.Run(ctx, streams)
}
