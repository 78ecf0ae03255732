// Package streamclient is a client of exec, attach and port-forward for tests: what a kubelet does behind the URLs that the CRI gives, over
// SPDY and over WebSocket, and what none should do.
package streamclient

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/websocket"
)

// handshakeTime is how long a server may take for its answer to a request, on a busy machine.
const handshakeTime = time.Minute

// RefusedError is an answer that is no upgrade.
type RefusedError struct {
	Code int
	Body string
}

func (e *RefusedError) Error() string { return fmt.Sprintf("HTTP %d: %s", e.Code, e.Body) }

// buffered is a connection of which something was read already.
type buffered struct {
	net.Conn
	reader *bufio.Reader
}

func (b *buffered) Read(p []byte) (int, error) { return b.reader.Read(p) }

// Upgrade connects and asks for SPDY/3.1 with one of protocols.
func Upgrade(address string, protocols ...string) (net.Conn, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	conn, err := dial(u)
	if err != nil {
		return nil, err
	}
	r := &http.Request{
		Method: http.MethodPost, URL: u, Host: u.Host,
		Header: http.Header{"Connection": {"Upgrade"}, "Upgrade": {"SPDY/3.1"}, "X-Stream-Protocol-Version": protocols},
	}
	conn.SetDeadline(time.Now().Add(handshakeTime))
	if err := r.Write(conn); err != nil {
		conn.Close()
		return nil, err
	}
	b := &buffered{conn, bufio.NewReader(conn)}
	answer, err := http.ReadResponse(b.reader, r)
	if err != nil {
		conn.Close()
		return nil, err
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(answer.Body)
		conn.Close()
		return nil, &RefusedError{answer.StatusCode, string(body)}
	}
	conn.SetDeadline(time.Time{})
	return b, nil
}

// dial connects; a server's certificate may be anybody's.
func dial(u *url.URL) (net.Conn, error) {
	if u.Scheme == "https" {
		return tls.DialWithDialer(&net.Dialer{Timeout: handshakeTime}, "tcp", u.Host, &tls.Config{InsecureSkipVerify: true})
	}
	return net.DialTimeout("tcp", u.Host, handshakeTime)
}

// WebSocket connects and asks for a WebSocket with one of the protocols.
func WebSocket(address string, protocols ...string) (*websocket.Conn, net.Conn, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, nil, err
	}
	conn, err := dial(u)
	if err != nil {
		return nil, nil, err
	}
	u.Scheme = "ws" // the connection is there already
	config, err := websocket.NewConfig(u.String(), "http://localhost")
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	config.Protocol = protocols
	conn.SetDeadline(time.Now().Add(handshakeTime))
	ws, err := websocket.NewClient(config, conn)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	conn.SetDeadline(time.Time{})
	ws.PayloadType = websocket.BinaryFrame
	return ws, conn, nil
}

// Reset closes a connection as a client's death may: with RST, whatever was under way.
func Reset(conn net.Conn) {
	if b, ok := conn.(*buffered); ok {
		conn = b.Conn
	}
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}
