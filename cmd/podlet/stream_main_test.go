package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/hack/streamclient"
)

// transports are all ways to a session.
var transports = []streamclient.Transport{streamclient.SPDY, streamclient.WebSocketV4, streamclient.WebSocketV5, streamclient.Base64}

// streamExec begins a session with a command.
func (n *node) streamExec(t streamclient.Transport, container string, want streamclient.Want, command ...string) *streamclient.Command {
	n.t.Helper()
	r, err := n.Exec(n.ctx(), &cri.ExecRequest{ContainerId: container, Cmd: command, Stdin: want.Stdin, Stdout: want.Stdout, Stderr: want.Stderr, Tty: want.TTY})
	if err != nil {
		n.t.Fatalf("Exec %q: %v", command, err)
	}
	return n.open(t, r.Url, want)
}

// streamAttach begins a session with a container's process.
func (n *node) streamAttach(t streamclient.Transport, container string, want streamclient.Want) *streamclient.Command {
	n.t.Helper()
	r, err := n.Attach(n.ctx(), &cri.AttachRequest{ContainerId: container, Stdin: want.Stdin, Stdout: want.Stdout, Stderr: want.Stderr, Tty: want.TTY})
	if err != nil {
		n.t.Fatalf("Attach: %v", err)
	}
	return n.open(t, r.Url, want)
}

func (n *node) open(t streamclient.Transport, url string, want streamclient.Want) *streamclient.Command {
	n.t.Helper()
	c, err := streamclient.Open(url, t, want)
	if err != nil {
		n.t.Fatalf("%s: %v", t, err)
	}
	n.t.Cleanup(c.Kill)
	return c
}

// transcript is what a client has read so far of a stream that has no end yet.
type transcript struct {
	t    *testing.T
	text string
	came chan string // closed at the stream's end
}

func newTranscript(t *testing.T, r io.Reader) *transcript {
	s := &transcript{t: t, came: make(chan string, 1000)}
	go func() {
		defer close(s.came)
		buffer := make([]byte, 4096)
		for {
			n, err := r.Read(buffer)
			if n > 0 {
				s.came <- string(buffer[:n])
			}
			if err != nil {
				return
			}
		}
	}()
	return s
}

// until reads on until the text has part in it, and forgets what it read.
func (s *transcript) until(part string) string {
	s.t.Helper()
	timer := time.NewTimer(hangTime)
	defer timer.Stop()
	for {
		if i := strings.Index(s.text, part); i >= 0 {
			text := s.text[:i+len(part)]
			s.text = s.text[i+len(part):]
			return text
		}
		select {
		case more, ok := <-s.came:
			if !ok {
				s.t.Fatalf("the stream ended without %q: %q", part, s.text)
			}
			s.text += more
		case <-timer.C:
			s.t.Fatalf("no %q in time, but %q", part, s.text)
		}
	}
}

// goroutines counts those of podlet that have to do with streams.
func (n *node) goroutines() (count int) {
	n.t.Helper()
	for _, stack := range strings.Split(n.stacks(), "\n\n") {
		for _, part := range []string{"internal/streaming", "spdystream", "k8s.io/streaming", "net/websocket", "pod.(*execEnds)", "pod.newInflow", "pod.(*outflow)", "pod.(*copied)"} {
			if strings.Contains(stack, part) {
				count++
				break
			}
		}
	}
	return count
}

// stacks are those of podlet's goroutines.
func (n *node) stacks() string {
	n.t.Helper()
	return n.profile("goroutine?debug=2")
}

// profile is one of net/http/pprof.
func (n *node) profile(name string) string {
	n.t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", debugSocket(n.dir+"/state"))
	}}}
	r, err := client.Get("http://podlet/debug/pprof/" + name)
	if err != nil {
		n.t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return string(text)
}
