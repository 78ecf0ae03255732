package streaming

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// tellTime is how long a client has to hear why its session ends before its time.
	tellTime = 3 * time.Second
	// lingerLook is how often a connection that is being closed is looked at, lingerTime how long its client may take nothing of what was written.
	lingerLook = 500 * time.Millisecond
	lingerTime = 30 * time.Second
)

// errGone is the cause of a session's end where nobody is left to be told.
var errGone = errors.New("the client hung up")

// session is one client from its token to its end.
type session struct {
	server *Server
	// ctx is what the session's work runs under; its cause is why it ended.
	ctx    context.Context
	cancel context.CancelCauseFunc
	// over: all has been said; what the transport does to the connection from here on means nothing.
	over atomic.Bool
	// meter measures what the client sends. nil before the upgrade, and for a tunnel, whose inner connection has the meter.
	meter meter

	mu    sync.Mutex
	wire  *wire       // nil until the upgrade
	idle  *time.Timer // nil until the upgrade
	stops []func()
}

func (s *Server) newSession() *session {
	q := &session{server: s}
	q.ctx, q.cancel = context.WithCancelCause(s.life)
	return q
}

// cause is why the session ended, nil if it didn't.
func (q *session) cause() error { return context.Cause(q.ctx) }

// upgrader is an answer that a transport takes the connection from.
type upgrader struct {
	http.ResponseWriter
	session *session
}

// Hijack gives the transport the session's wire in place of the connection.
func (u *upgrader) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	first, err := rw.Reader.Peek(rw.Reader.Buffered())
	if err == nil {
		err = rw.Writer.Flush()
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err == nil {
		err = u.session.upgraded(conn, first)
	}
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	w := u.session.wire
	return w, bufio.NewReadWriter(bufio.NewReader(w), bufio.NewWriter(w)), nil
}

// tcp is the connection below TLS.
func tcp(conn net.Conn) (*net.TCPConn, error) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	c, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, fmt.Errorf("a connection of type %T where TCP was due", conn)
	}
	return c, nil
}

// upgraded begins to look after the connection. first are bytes of it that were read already.
func (q *session) upgraded(conn net.Conn, first []byte) error {
	c, err := tcp(conn)
	if err != nil {
		return err
	}
	w := &wire{Conn: conn, first: append([]byte{}, first...), session: q}
	w.touch()
	unwatch, err := q.server.hangups.watch(c, func() { q.cancel(errGone) })
	if err != nil {
		return err
	}
	over := make(chan struct{})
	unfollow := context.AfterFunc(q.ctx, func() {
		if !errors.Is(q.cause(), errGone) {
			timer := time.NewTimer(tellTime)
			defer timer.Stop()
			select {
			case <-over:
				return
			case <-timer.C:
			}
		}
		conn.Close()
	})
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wire = w
	q.idle = time.AfterFunc(q.server.limits.Idle, q.lookIdle)
	q.stops = []func(){unwatch, func() { unfollow() }, func() { close(over) }}
	return nil
}

// lookIdle ends the session if nothing has moved for long.
func (q *session) lookIdle() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if quiet := time.Since(q.wire.last()); quiet < q.server.limits.Idle {
		q.idle.Reset(q.server.limits.Idle - quiet)
		return
	}
	q.cancel(fmt.Errorf("nothing was sent or read for %v", q.server.limits.Idle))
}

// end closes the connection, once all that was written is with the client.
func (q *session) end() {
	q.mu.Lock()
	w := q.wire
	if q.idle != nil {
		q.idle.Stop()
	}
	q.mu.Unlock()
	if w != nil {
		w.linger()
		for _, stop := range q.stops {
			stop()
		}
		w.Conn.Close()
	}
	q.cancel(errGone)
	if q.meter != nil {
		q.meter.end()
	}
}

// guarded makes do one whose panic is the session's end and no other's.
func (q *session) guarded(do func()) func() {
	return func() {
		defer func() {
			if p := recover(); p != nil {
				q.server.log.Error("podlet panicked in a session", "panic", p, "stack", string(debug.Stack()))
				q.cancel(fmt.Errorf("podlet panicked: %v", p))
			}
		}()
		do()
	}
}

// wire is an upgraded connection as its transport sees it.
type wire struct {
	net.Conn
	session *session
	first   []byte

	mu     sync.Mutex
	active time.Time
}

func (w *wire) touch() {
	w.mu.Lock()
	w.active = time.Now()
	w.mu.Unlock()
}

func (w *wire) last() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.active
}

func (w *wire) Read(p []byte) (n int, err error) {
	if w.session.meter == nil {
		return w.read(p)
	}
	return w.session.metered(w.session.meter, w.read, p)
}

// metered reads what there is room for.
func (q *session) metered(m meter, read func([]byte) (int, error), p []byte) (int, error) {
	if err := m.wait(q.ctx); err != nil {
		return 0, err
	}
	n, err := read(p)
	if bad := m.take(p[:n]); bad != nil {
		q.cancel(bad)
		return 0, bad
	}
	return n, err
}

func (w *wire) read(p []byte) (n int, err error) {
	if len(w.first) > 0 {
		n = copy(p, w.first)
		w.first = w.first[n:]
	} else {
		n, err = w.Conn.Read(p)
	}
	if n > 0 {
		w.touch()
	}
	return n, err
}

func (w *wire) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	if n > 0 {
		w.touch()
	}
	return n, err
}

// Close is the transport's: the client said good-bye or broke the protocol, if the session isn't over anyway. session.end closes the connection.
func (w *wire) Close() error {
	if !w.session.over.Load() {
		w.session.cancel(errGone)
	}
	return nil
}

// SetDeadline and its likes are for the session alone.
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// linger says that no more is coming and waits until the client has closed its side, or has taken all and says nothing. A connection that is closed
// with something unread in it is reset, and then what was written last may be lost on its way.
func (w *wire) linger() {
	if c, ok := w.Conn.(interface{ CloseWrite() error }); !ok || c.CloseWrite() != nil {
		return
	}
	c, err := tcp(w.Conn)
	if err != nil {
		return
	}
	c.CloseWrite()
	buffer := make([]byte, 4096)
	waiting, since := unsent(c), time.Now()
	for {
		w.Conn.SetReadDeadline(time.Now().Add(lingerLook))
		_, err := w.Conn.Read(buffer)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		left := unsent(c)
		if left < waiting {
			waiting, since = left, time.Now()
		}
		if err != nil && left == 0 || time.Since(since) > lingerTime {
			return
		}
	}
}

// unsent is how many bytes the other end has not taken yet (tcp(7), SIOCOUTQ).
func unsent(c *net.TCPConn) (n int) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	return n
}
