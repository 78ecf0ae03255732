package streaming

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"podlet/hack/streamclient"
)

// TestToken: a URL is good once, for a time, and for what it was given; without it nothing is upgraded.
func TestToken(t *testing.T) {
	r := newRig(t, Config{Limits: Limits{Token: time.Hour, Tokens: 3}})
	url := r.url(echo)
	c := r.open(streamclient.SPDY, url)
	c.Stdin.Close()
	if _, _, code, err := c.Output(); code != 7 || err != nil {
		t.Errorf("%d, %v", code, err)
	}
	good, other := r.url(echo), r.url(echo)
	for _, wrong := range []string{
		url, strings.Replace(other, "/exec/", "/attach/", 1), r.base, r.base + "exec/", r.base + "exec/" + strings.Repeat("A", 5000),
		other, // its token was shown, if at the wrong place: it is known to more than its owner
	} {
		refused(t, wrong, http.StatusNotFound)
	}
	for range 2 {
		r.url(echo)
	}
	if _, err := r.Command(&Command{Kind: "exec", Run: echo}); !errors.Is(err, ErrBusy) {
		t.Errorf("one URL more than may wait: %v", err)
	}
	answer, err := http.Head(good)
	if err != nil || answer.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("HEAD: %v, %v", answer, err)
	}
	http.DefaultClient.CloseIdleConnections()

	brief := newRig(t, Config{Limits: Limits{Token: 50 * time.Millisecond}})
	late := brief.url(echo)
	brief.settles("waiting tokens", 0, func() int {
		brief.tokens.mu.Lock()
		defer brief.tokens.mu.Unlock()
		return len(brief.tokens.waiting)
	})
	refused(t, late, http.StatusNotFound)
}

func refused(t *testing.T, url string, code int) {
	t.Helper()
	var e *streamclient.RefusedError
	if _, err := streamclient.Open(url, streamclient.SPDY, all); !errors.As(err, &e) || e.Code != code {
		t.Errorf("%.80s: SPDY: %v, want %d", url, err, code)
	}
	if _, err := streamclient.Open(url, streamclient.WebSocketV4, all); err == nil {
		t.Errorf("%.80s: a WebSocket is opened", url)
	}
}

// TestNoUpgrade: a client that asks for no transport, or for a protocol that is none, is told; its token is gone.
func TestNoUpgrade(t *testing.T) {
	r := newRig(t, Config{})
	answer, err := http.Post(r.url(echo), "text/plain", nil)
	if err != nil || answer.StatusCode != http.StatusBadRequest {
		t.Errorf("%v, %v", answer, err)
	}
	answer.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	var e *streamclient.RefusedError
	if _, err := streamclient.Upgrade(r.url(echo), "v9.channel.k8s.io"); !errors.As(err, &e) || e.Code != http.StatusForbidden {
		t.Errorf("%v", err)
	}
	if _, _, err := streamclient.WebSocket(r.url(echo), "v9.channel.k8s.io"); err == nil {
		t.Error("a WebSocket of an unknown protocol")
	}
}

// TestStrangers: who has no token holds little, and not for long.
func TestStrangers(t *testing.T) {
	brief := newRig(t, Config{Limits: Limits{Handshake: 300 * time.Millisecond}})
	for what, text := range map[string]string{
		"nothing":        "",
		"half a header":  "GET /exec/x HTTP/1.1\r\nHost: %s\r\n",
		"a large header": "GET /exec/x HTTP/1.1\r\nHost: %s\r\nX: " + strings.Repeat("x", 2*headerMost) + "\r\n\r\n",
	} {
		c := brief.raw(text)
		c.SetReadDeadline(time.Now().Add(hangTime))
		if answer, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) || strings.Contains(string(answer), " 101 ") {
			t.Errorf("%s: %q, %v", what, answer, err)
		}
	}
	r := newRig(t, Config{Limits: Limits{Sessions: 1}})
	c := r.open(streamclient.SPDY, r.url(echo))
	refused(t, r.url(echo), http.StatusServiceUnavailable)
	c.Stdin.Close()
	if _, _, code, err := c.Output(); code != 7 || err != nil {
		t.Errorf("%d, %v", code, err)
	}
}

// TestStrangerLimit: strangers, however many, keep nobody out who has a token.
func TestStrangerLimit(t *testing.T) {
	r := newRig(t, Config{Limits: Limits{Handshake: time.Hour}}) // none goes for being slow
	var silent []net.Conn
	for range strangersMost {
		silent = append(silent, r.raw("GET /exec/x HTTP/1.1\r\nHost: %s\r\n"))
	}
	c := r.open(streamclient.SPDY, r.url(echo))
	c.Stdin.Close()
	if _, _, code, err := c.Output(); code != 7 || err != nil {
		t.Errorf("%d, %v", code, err)
	}
	// The first one had to go, the last one had not.
	silent[0].SetReadDeadline(time.Now().Add(hangTime))
	if _, err := silent[0].Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the oldest stranger: %v", err)
	}
	last := silent[strangersMost-1]
	io.WriteString(last, "\r\n")
	last.SetReadDeadline(time.Now().Add(hangTime))
	if answer, err := io.ReadAll(last); !strings.Contains(string(answer), " 404 ") || err != nil {
		t.Errorf("the latest stranger: %q, %v", answer, err)
	}
}

// TestHandshake: streams that don't come are not waited for long, and those of a client that is gone not at all.
func TestHandshake(t *testing.T) {
	never := func(context.Context, *Streams) (int, error) { t.Error("the session began"); return 0, nil }
	r := newRig(t, Config{})
	r.limits.Handshake = 300 * time.Millisecond // for the streams; the header may take its time
	conn, err := streamclient.Upgrade(r.url(never), "v4.channel.k8s.io")
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(hangTime))
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Errorf("a client without streams: %v", err)
	}
	conn.Close()

	patient := newRig(t, Config{Limits: Limits{Handshake: time.Hour}})
	for range 20 {
		conn, err := streamclient.Upgrade(patient.url(never), "v4.channel.k8s.io")
		if err != nil {
			t.Fatal(err)
		}
		streamclient.Reset(conn)
	}
	patient.settles("sessions", 0, patient.count)
}

func (s *Server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.sessions
}

// TestIdle: a session in which nothing moves is ended, and the client told if it listens.
func TestIdle(t *testing.T) {
	r := newRig(t, Config{Limits: Limits{Idle: 300 * time.Millisecond}})
	// A session whose client is held up before it has opened its streams is idle and never begins. Then another one comes.
	begin := func(transport streamclient.Transport, run func(context.Context, *Streams) (int, error)) (*streamclient.Command, <-chan error) {
		for {
			began, ended := make(chan struct{}), make(chan error, 1)
			c, err := streamclient.Open(r.url(func(ctx context.Context, s *Streams) (int, error) {
				close(began)
				return run(ctx, s)
			}), transport, all)
			if err != nil {
				continue
			}
			t.Cleanup(c.Kill)
			go func() {
				_, err := c.Wait()
				ended <- err
				close(ended)
			}()
			select {
			case <-began:
				return c, ended
			case <-ended:
			}
		}
	}
	var together sync.WaitGroup
	for _, transport := range transports {
		// A client that doesn't read is idle too, whatever would be there to read.
		begin(transport, func(ctx context.Context, s *Streams) (int, error) {
			for {
				if _, err := s.Stdout.Write(make([]byte, 32<<10)); err != nil {
					return 0, err
				}
			}
		})
		c, ended := begin(transport, untilEnd)
		together.Go(func() {
			for range 4 { // not idle yet
				io.WriteString(c.Stdin, "x")
				time.Sleep(100 * time.Millisecond)
			}
			if err := <-ended; err == nil || !strings.Contains(err.Error(), "nothing was sent or read for 300ms") {
				t.Errorf("%s: %v", transport, err)
			}
		})
	}
	together.Wait()
	r.settles("sessions", 0, r.count)
}

// TestClose: sessions end with their reason.
func TestClose(t *testing.T) {
	r := newRig(t, Config{})
	var clients []*streamclient.Command
	for _, transport := range transports {
		clients = append(clients, r.open(transport, r.url(untilEnd)))
	}
	forward, err := streamclient.OpenForward(r.forwardEcho())
	if err != nil {
		t.Fatal(err)
	}
	waiting := r.url(echo)
	if labelled() < len(clients) {
		t.Errorf("%d goroutines for %d sessions: the count that all tests end with is wrong", labelled(), len(clients))
	}
	r.Close()
	for i, c := range clients {
		if _, _, _, err := c.Output(); err == nil || !strings.Contains(err.Error(), "podlet is stopping") {
			t.Errorf("%s: %v", transports[i], err)
		}
	}
	<-forward.Done()
	if _, err := streamclient.Open(waiting, streamclient.SPDY, all); err == nil {
		t.Error("a session begins after the end")
	}
}

// TestPanic: a mistake of podlet's own in a session is the end of that one.
func TestPanic(t *testing.T) {
	r := newRig(t, Config{})
	url, err := r.Forward(&Forward{Ports: []uint16{80}, Dial: func(context.Context, uint16) (net.Conn, error) { panic("here") }})
	if err != nil {
		t.Fatal(err)
	}
	f, err := streamclient.OpenForward(url)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Dial(80); err != nil {
		t.Fatal(err)
	}
	<-f.Done()
	f.Close()
	for _, transport := range transports {
		c := r.open(transport, r.url(func(context.Context, *Streams) (int, error) { panic("here") }))
		if _, _, _, err := c.Output(); err == nil || !strings.Contains(err.Error(), "panicked: here") {
			t.Errorf("%s: %v", transport, err)
		}
	}
}

// TestTLS: all the same, inside TLS.
func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, Config{TLS: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}}})
	for _, transport := range transports {
		url := r.url(func(ctx context.Context, s *Streams) (int, error) {
			text, _ := io.ReadAll(io.LimitReader(s.Stdin, 5))
			s.Stdout.Write(text)
			return 7, nil
		})
		if !strings.HasPrefix(url, "https://127.0.0.1:") {
			t.Fatal(url)
		}
		c := r.open(transport, url)
		io.WriteString(c.Stdin, "hello")
		if out, _, code, err := c.Output(); out != "hello" || code != 7 || err != nil {
			t.Errorf("%s: %q, %d, %v", transport, out, code, err)
		}
		gone := r.open(transport, r.url(untilEnd))
		gone.Kill()
	}
	r.settles("sessions", 0, r.count)
}
