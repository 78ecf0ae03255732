package streaming

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"podlet/hack/streamclient"
)

// portsOf is a session of so many ports, each of which says its number, and then what it hears.
func (r *rig) portsOf(count int) string {
	r.t.Helper()
	f := &Forward{Dial: func(_ context.Context, port uint16) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			fmt.Fprintf(theirs, "port %d ", port)
			io.Copy(theirs, theirs)
		}()
		return ours, nil
	}}
	for i := range count {
		f.Ports = append(f.Ports, uint16(i+1))
	}
	address, err := r.Forward(f)
	if err != nil {
		r.t.Fatal(err)
	}
	return address
}

// TestForwardPorts: each port has channels of its own, whose numbers are a byte. More ports than there are numbers for are refused, as no port is.
func TestForwardPorts(t *testing.T) {
	r := newRig(t, Config{})
	ws, conn, err := streamclient.WebSocket(r.portsOf(portsMost), "v4.channel.k8s.io")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(hangTime))
	const channel = 2 * (portsMost - 1)
	if err := websocket.Message.Send(ws, append([]byte{channel}, "hello"...)); err != nil {
		t.Fatal(err)
	}
	want, said := fmt.Sprintf("\x7f\x00port %d hello", portsMost), ""
	for len(said) < len(want) {
		var message []byte
		if err := websocket.Message.Receive(ws, &message); err != nil {
			t.Fatalf("after %q: %v", said, err)
		}
		if message[0] == channel {
			said += string(message[1:])
		}
	}
	if said != want {
		t.Errorf("the last port: %q, want %q", said, want)
	}
	for count, want := range map[int]string{0: "names none", portsMost + 1: "request's 128 ports; 127 is the limit"} {
		u, err := url.Parse(r.portsOf(count))
		if err != nil {
			t.Fatal(err)
		}
		c := r.raw("GET " + u.Path + " HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\nOrigin: http://localhost\r\n\r\n")
		c.SetReadDeadline(time.Now().Add(hangTime))
		line := make([]byte, 1024)
		n, err := io.ReadAtLeast(c, line, 12)
		if err != nil || !strings.Contains(string(line[:n]), " 400 ") {
			t.Fatalf("%d ports: %q, %v", count, line[:n], err)
		}
		rest, err := io.ReadAll(c)
		if !strings.Contains(string(line[:n])+string(rest), want) || err != nil {
			t.Errorf("%d ports: %q, %v", count, string(line[:n])+string(rest), err)
		}
	}
}

// closing tells of its Close.
type closing struct {
	*net.TCPConn
	closed chan struct{}
}

func (c *closing) Close() error {
	err := c.TCPConn.Close()
	select {
	case c.closed <- struct{}{}:
	default:
	}
	return err
}

// TestForwardAppGone: an app that has said all is still heard to; once it is gone its connection is, too, though the client talks on.
func TestForwardAppGone(t *testing.T) {
	app, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	heard := make(chan string, 1)
	go func() {
		c, err := app.Accept()
		if err != nil {
			return
		}
		io.WriteString(c, "hello")
		c.(*net.TCPConn).CloseWrite()
		b := make([]byte, 9)
		n, _ := io.ReadFull(c, b)
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
		heard <- string(b[:n])
	}()
	closed := make(chan struct{}, 1)
	r := newRig(t, Config{})
	address, err := r.Forward(&Forward{Dial: func(context.Context, uint16) (net.Conn, error) {
		c, err := net.Dial("tcp", app.Addr().String())
		if err != nil {
			return nil, err
		}
		return &closing{c.(*net.TCPConn), closed}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	f, err := streamclient.OpenForward(address)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := f.Dial(80)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(c); string(text) != "hello" || err != nil {
		t.Fatalf("%q, %v", text, err)
	}
	io.WriteString(c, "after all")
	if text := <-heard; text != "after all" {
		t.Fatalf("the app heard %q", text)
	}
	hangs := time.After(hangTime)
	for {
		if _, err := io.WriteString(c, "to nobody"); err != nil {
			t.Fatal(err)
		}
		select {
		case <-closed:
			return
		case <-hangs:
			t.Fatal("podlet keeps the connection to an app that is gone")
		case <-time.After(10 * time.Millisecond):
		}
	}
}
