package streamclient

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"

	"golang.org/x/net/websocket"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// Transport is how a command's streams travel.
type Transport string

const (
	SPDY        Transport = "SPDY"
	WebSocketV4 Transport = "v4.channel.k8s.io"
	WebSocketV5 Transport = "v5.channel.k8s.io" // has a half-close
	Base64      Transport = "v4.base64.channel.k8s.io"
)

// Want says which streams a session has; they must be those of the CRI's request.
type Want struct{ Stdin, Stdout, Stderr, TTY bool }

// Command is a session of exec or attach. Its streams are nil unless wanted.
type Command struct {
	Stdin          io.WriteCloser
	Stdout, Stderr io.Reader
	Sizes          io.Writer // the window's, in JSON; see Resize
	conn           net.Conn
	close          func()
	status         chan report
}

// report is all that came of the status.
type report struct {
	text []byte
	err  error
}

// listen reads the status as it comes: what isn't read stops a WebSocket's other streams.
func (c *Command) listen(r io.Reader) {
	c.status = make(chan report, 1)
	go func() {
		text, err := io.ReadAll(r)
		c.status <- report{text, err}
	}()
}

// Open begins the session behind a URL.
func Open(address string, t Transport, want Want) (*Command, error) {
	if t == SPDY {
		return openSPDY(address, want)
	}
	return openWebSocket(address, t, want)
}

func openSPDY(address string, want Want) (*Command, error) {
	conn, err := Upgrade(address, "v4.channel.k8s.io", "v3.channel.k8s.io")
	if err != nil {
		return nil, err
	}
	s, err := spdy.NewClientConnection(conn)
	if err != nil {
		conn.Close()
		return nil, err
	}
	c := &Command{conn: conn, close: func() { s.Close() }}
	open := func(kind string, wanted bool, use func(httpstream.Stream)) {
		if !wanted || err != nil {
			return
		}
		var stream httpstream.Stream
		if stream, err = s.CreateStream(http.Header{"streamType": {kind}}); err == nil {
			use(stream)
		}
	}
	open("error", true, func(s httpstream.Stream) { c.listen(s); s.Close() })
	open("stdin", want.Stdin, func(s httpstream.Stream) { c.Stdin = s })
	open("stdout", want.Stdout, func(s httpstream.Stream) { c.Stdout = s; s.Close() })
	open("stderr", want.Stderr, func(s httpstream.Stream) { c.Stderr = s; s.Close() })
	open("resize", want.TTY, func(s httpstream.Stream) { c.Sizes = s })
	if err != nil {
		c.Kill()
		return nil, err
	}
	return c, nil
}

// channels are a WebSocket's streams.
type channels struct {
	ws     *websocket.Conn
	base64 bool
	mu     sync.Mutex
	in     map[byte]*io.PipeWriter
}

func openWebSocket(address string, t Transport, want Want) (*Command, error) {
	ws, conn, err := WebSocket(address, string(t))
	if err != nil {
		return nil, err
	}
	w := &channels{ws: ws, base64: t == Base64, in: map[byte]*io.PipeWriter{}}
	c := &Command{conn: conn, close: func() { ws.Close() }}
	reader := func(number byte) io.Reader {
		r, in := io.Pipe()
		w.in[number] = in
		return r
	}
	if want.Stdin {
		c.Stdin = &channel{w, 0, t == WebSocketV5}
	}
	if want.Stdout {
		c.Stdout = reader(1)
	}
	if want.Stderr {
		c.Stderr = reader(2)
	}
	c.listen(reader(3))
	c.Sizes = &channel{w, 4, false}
	go w.read()
	return c, nil
}

// Kill ends the client with a reset.
func (c *Command) Kill() { Reset(c.conn) }

// Close ends the client as a proper one does.
func (c *Command) Close() {
	c.close()
	c.conn.Close()
}

// Resize says how large the client's window is.
func (c *Command) Resize(width, height int) error {
	_, err := fmt.Fprintf(c.Sizes, `{"Width":%d,"Height":%d}`, width, height)
	return err
}

// ErrNoStatus says that the session ended without one.
var ErrNoStatus = errors.New("the session ended without a status")

// Wait gives the exit code of a session whose output somebody reads; an error is the session's own.
func (c *Command) Wait() (code int, err error) {
	r := <-c.status
	if r.err != nil {
		return 0, r.err
	}
	if len(r.text) == 0 {
		return 0, ErrNoStatus
	}
	var s struct {
		Status, Message, Reason string
		Details                 struct {
			Causes []struct{ Reason, Message string }
		}
	}
	if err := json.Unmarshal(r.text, &s); err != nil {
		return 0, fmt.Errorf("status %q: %w", r.text, err)
	}
	switch {
	case s.Status == "Success":
		return 0, nil
	case s.Reason == "NonZeroExitCode" && len(s.Details.Causes) == 1 && s.Details.Causes[0].Reason == "ExitCode":
		return strconv.Atoi(s.Details.Causes[0].Message)
	}
	return 0, errors.New(s.Message)
}

// Output reads the outputs to their ends, while nothing is said on stdin any more, and waits.
func (c *Command) Output() (stdout, stderr string, code int, err error) {
	var reading sync.WaitGroup
	for r, to := range map[io.Reader]*string{c.Stdout: &stdout, c.Stderr: &stderr} {
		if r == nil {
			continue
		}
		reading.Go(func() {
			text, _ := io.ReadAll(r)
			*to = string(text)
		})
	}
	code, err = c.Wait()
	reading.Wait()
	c.Close()
	return stdout, stderr, code, err
}
