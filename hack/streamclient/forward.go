package streamclient

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"

	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// Forward is a session of port-forward over SPDY.
type Forward struct {
	spdy   httpstream.Connection
	conn   net.Conn
	number atomic.Int64
}

// OpenForward begins the session behind a URL.
func OpenForward(address string) (*Forward, error) {
	conn, err := Upgrade(address, "portforward.k8s.io")
	if err != nil {
		return nil, err
	}
	return newForward(conn, conn)
}

// OpenTunnel is OpenForward through a WebSocket.
func OpenTunnel(address string) (*Forward, error) {
	ws, conn, err := WebSocket(address, "SPDY/3.1+portforward.k8s.io")
	if err != nil {
		return nil, err
	}
	return newForward(ws, conn)
}

func newForward(carrier, conn net.Conn) (*Forward, error) {
	s, err := spdy.NewClientConnection(carrier)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &Forward{spdy: s, conn: conn}, nil
}

// Connection is one forwarded connection. Close ends what the client sends.
type Connection struct {
	httpstream.Stream
	report httpstream.Stream
}

// Dial opens a connection to a port.
func (f *Forward) Dial(port int) (*Connection, error) {
	h := http.Header{"port": {strconv.Itoa(port)}, "requestID": {fmt.Sprint(f.number.Add(1))}}
	h.Set("streamType", "error")
	report, err := f.spdy.CreateStream(h)
	if err != nil {
		return nil, err
	}
	report.Close()
	h = h.Clone()
	h.Set("streamType", "data")
	data, err := f.spdy.CreateStream(h)
	if err != nil {
		return nil, err
	}
	return &Connection{data, report}, nil
}

// Err reads what the server says of the connection, "" for nothing, at its end.
func (c *Connection) Err() (string, error) {
	text, err := io.ReadAll(c.report)
	return string(text), err
}

// Done is closed when the session has ended.
func (f *Forward) Done() <-chan bool { return f.spdy.CloseChan() }

// Kill ends the client with a reset, Close as a proper one does.
func (f *Forward) Kill() { Reset(f.conn) }

func (f *Forward) Close() {
	f.spdy.Close()
	f.conn.Close()
}

// ForwardWebSocket is a session over a WebSocket's channels, of one port.
type ForwardWebSocket struct {
	w      *channels
	conn   net.Conn
	Data   io.Reader
	Report io.Reader
}

// OpenForwardWebSocket begins the session behind a URL.
func OpenForwardWebSocket(address string) (*ForwardWebSocket, error) {
	ws, conn, err := WebSocket(address, "v4.channel.k8s.io")
	if err != nil {
		return nil, err
	}
	f := &ForwardWebSocket{w: &channels{ws: ws, in: map[byte]*io.PipeWriter{}}, conn: conn}
	for number, r := range map[byte]*io.Reader{0: &f.Data, 1: &f.Report} {
		read, in := io.Pipe()
		*r, f.w.in[number] = read, in
	}
	go f.w.read()
	return f, nil
}

func (f *ForwardWebSocket) Write(p []byte) (int, error) {
	return (&channel{w: f.w}).Write(p)
}

func (f *ForwardWebSocket) Close() { f.conn.Close() }
