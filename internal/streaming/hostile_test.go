package streaming

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/spdystream"
	frames "github.com/moby/spdystream/spdy"
	"golang.org/x/sys/unix"
	"k8s.io/streaming/pkg/httpstream/spdy"

	"podlet/hack/streamclient"
)

// TestCVE_E2: clients that are reset at any moment leave nothing, which newRig looks at (CVE-2025-64329).
func TestCVE_E2(t *testing.T) {
	r := newRig(t, Config{})
	var killing, writing sync.WaitGroup
	for i := range 60 {
		killing.Go(func() {
			wait := rand.N(3 * time.Millisecond)
			if i%2 == 0 {
				f, err := streamclient.OpenForward(r.forwardEcho())
				if err != nil {
					t.Error(err)
					return
				}
				for range 20 {
					go func() {
						if c, err := f.Dial(80); err == nil {
							io.WriteString(c, "to nobody")
							c.Reset()
						}
					}()
				}
				time.Sleep(wait)
				f.Kill()
				return
			}
			c := r.open(transports[i/2%len(transports)], r.url(echo))
			writing.Go(func() {
				for range 100 {
					if _, err := c.Stdin.Write(make([]byte, 32<<10)); err != nil {
						return
					}
				}
			})
			time.Sleep(wait)
			c.Kill()
		})
	}
	killing.Wait()
	writing.Wait()
	r.settles("sessions", 0, r.count)
}

// TestUnread: a client is seen to go although nothing reads what it sent.
func TestUnread(t *testing.T) {
	r := newRig(t, Config{})
	for _, transport := range transports {
		c := r.open(transport, r.url(func(ctx context.Context, s *Streams) (int, error) {
			<-ctx.Done()
			return 0, context.Cause(ctx)
		}))
		full := make(chan struct{})
		go func() {
			defer close(full)
			for range 1000 {
				if _, err := c.Stdin.Write(make([]byte, 32<<10)); err != nil {
					return
				}
			}
		}()
		time.Sleep(10 * time.Millisecond)
		c.Kill()
		<-full
	}
	r.settles("sessions", 0, r.count)
}

// TestTail: what was written last arrives at a client that still sends and hardly reads.
func TestTail(t *testing.T) {
	r := newRig(t, Config{})
	text := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	for _, transport := range transports {
		c := r.open(transport, r.url(func(ctx context.Context, s *Streams) (int, error) {
			_, err := io.Copy(struct{ io.Writer }{s.Stdout}, struct{ io.Reader }{bytes.NewReader(text)})
			return 9, err
		}))
		go func() {
			for {
				if _, err := c.Stdin.Write(make([]byte, 1000)); err != nil {
					return
				}
				time.Sleep(100 * time.Microsecond)
			}
		}()
		time.Sleep(50 * time.Millisecond)
		if out, _, code, err := c.Output(); out != string(text) || code != 9 || err != nil {
			t.Errorf("%s: %d bytes, %d, %v", transport, len(out), code, err)
		}
	}
}

// TestStreamsTooMany: streams that the session has no place for are refused, and it goes on.
func TestStreamsTooMany(t *testing.T) {
	r := newRig(t, Config{})
	conn, err := streamclient.Upgrade(r.url(echo), "v4.channel.k8s.io")
	if err != nil {
		t.Fatal(err)
	}
	s, err := spdy.NewClientConnection(conn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	open := func(kind string) io.ReadWriteCloser {
		stream, err := s.CreateStream(http.Header{"streamType": {kind}})
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		return stream
	}
	report, stdin, stdout := open("error"), open("stdin"), open("stdout")
	for range 20 {
		for _, kind := range []string{"stdin", "error", "resize", "nonsense", ""} {
			if _, err := s.CreateStream(http.Header{"streamType": {kind}}); !errors.Is(err, spdystream.ErrReset) {
				t.Fatalf("one stream %q too many: %v", kind, err)
			}
		}
	}
	open("stderr")
	io.WriteString(stdin, "still here")
	stdin.Close()
	if out, err := io.ReadAll(stdout); string(out) != "still here" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	if text, err := io.ReadAll(report); !strings.Contains(string(text), "NonZeroExitCode") || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	s.Close()
}

// frame is a SPDY/3 control frame that says it has length bytes.
func frame(kind uint16, length uint32, body ...byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, 0x8003)
	b = binary.BigEndian.AppendUint16(b, kind)
	b = binary.BigEndian.AppendUint32(b, length)
	return append(b, body...)
}

// TestCVE_E1: frames that say they are large cost nothing, before the token and after it (CVE-2026-35469).
func TestCVE_E1(t *testing.T) {
	r := newRig(t, Config{})
	hidden := []byte{0, 0, 0, 1, 0, 0xff, 0xff, 0xff} // what the transport takes for a frame, and a reader of lengths doesn't
	bombs := map[string][]byte{
		"SETTINGS of 2^31 entries":    frame(4, 1<<24-1, 0x80, 0, 0, 0),
		"SETTINGS that lies":          frame(4, 12, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0),
		"SETTINGS with data of 16 MB": frame(4, 12, append([]byte{0, 0, 0, 0}, hidden...)...),
		"RST_STREAM with data":        frame(3, 16, append([]byte{0, 0, 0, 1, 0, 0, 0, 5}, hidden...)...),
		"PING with data of 16 MB":     frame(6, 12, append([]byte{0, 0, 0, 1}, hidden...)...),
		"SYN_STREAM of 16 MB":         frame(1, 1<<24-1),
		"HEADERS of 16 MB":            frame(8, 1<<24-1),
		"data of 16 MB":               {0, 0, 0, 1, 0, 0xff, 0xff, 0xff},
		"a control frame of no known": frame(999, 1<<20),
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for name, bomb := range bombs {
		for _, url := range []string{r.url(untilEnd), r.forwardEcho()} {
			protocol := "v4.channel.k8s.io"
			if strings.Contains(url, forwardKind) {
				protocol = "portforward.k8s.io"
			}
			conn, err := streamclient.Upgrade(url, protocol)
			if err != nil {
				t.Fatal(err)
			}
			conn.Write(bomb)
			conn.Write(make([]byte, 64<<10))
			conn.SetReadDeadline(time.Now().Add(hangTime))
			if _, err := io.Copy(io.Discard, conn); err != nil && !isReset(err) {
				t.Errorf("%s: %v", name, err)
			}
			conn.Close()
		}
		c := r.raw("")
		c.Write(bomb)
		c.Close()
	}
	r.settles("sessions", 0, r.count)
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 {
		t.Errorf("%d KiB were allocated for %d bombs", grown>>10, 2*len(bombs))
	} else {
		t.Logf("%d KiB were allocated for %d bombs", grown>>10, 2*len(bombs))
	}
}

func isReset(err error) bool {
	return strings.Contains(fmt.Sprint(err), unix.ECONNRESET.Error()) || strings.Contains(fmt.Sprint(err), unix.EPIPE.Error())
}

// TestStreamsOfOldNumbers: a client that opens a stream whose number is used up breaks the protocol, which ends its session. The transport would start
// a goroutine for each.
func TestStreamsOfOldNumbers(t *testing.T) {
	r := newRig(t, Config{})
	for url, protocol := range map[string]string{r.url(untilEnd): "v4.channel.k8s.io", r.forwardEcho(): "portforward.k8s.io"} {
		conn, err := streamclient.Upgrade(url, protocol)
		if err != nil {
			t.Fatal(err)
		}
		framer, err := frames.NewFramer(conn, conn)
		if err != nil {
			t.Fatal(err)
		}
		for id := range frames.StreamId(10) {
			if err := framer.WriteFrame(&frames.SynStreamFrame{StreamId: 0x7fffffff - 2*id}); isReset(err) {
				break // the second was the end
			} else if err != nil {
				t.Fatal(err)
			}
		}
		conn.SetReadDeadline(time.Now().Add(hangTime))
		if _, err := io.Copy(io.Discard, conn); err != nil && !isReset(err) {
			t.Error(err)
		}
		conn.Close()
	}
	r.settles("sessions", 0, r.count)
}

// TestForwardMost: a session has so many connections at a time and no more, and goes on.
func TestForwardMost(t *testing.T) {
	r := newRig(t, Config{})
	f, err := streamclient.OpenForward(r.forwardEcho())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Kill()
	var open []*streamclient.Connection
	for range forwardMost {
		c, err := f.Dial(80)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	if _, err := f.Dial(80); !errors.Is(err, spdystream.ErrReset) {
		t.Errorf("one more than may be: %v", err)
	}
	for _, c := range open[:10] {
		io.WriteString(c, "hello")
		b := make([]byte, 5)
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
			t.Fatalf("%q, %v", b, err)
		}
	}
}

// TestSizes: the latest two sizes are those that are read, and nobody waits for a reader (CVE-2022-23471).
func TestSizes(t *testing.T) {
	latest := newSizes()
	var text strings.Builder
	for i := range 10000 {
		fmt.Fprintf(&text, `{"Width":%d,"Height":%d}`, i, i+1)
	}
	// No window has no width or no height.
	text.WriteString(`{"Width":0,"Height":0}{"Width":80}{"Height":24}{}`)
	latest.read(strings.NewReader(text.String()))
	if len(latest) != 2 {
		t.Fatalf("%d sizes", len(latest))
	}
	for _, want := range []unix.Winsize{{Col: 9998, Row: 9999}, {Col: 9999, Row: 10000}} {
		if got := <-latest; got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	// Nonsense without an end is read and forgotten.
	latest.read(io.LimitReader(endless{}, 64<<20))
	select {
	case got := <-latest:
		t.Errorf("%+v", got)
	default:
	}
}

// TestSizesOfNonsense don't stop what comes behind them.
func TestSizesOfNonsense(t *testing.T) {
	r := newRig(t, Config{})
	for _, transport := range transports {
		url, err := r.Command(&Command{Kind: "exec", Stdin: true, Stdout: true, TTY: true, Run: echo})
		if err != nil {
			t.Fatal(err)
		}
		c, err := streamclient.Open(url, transport, streamclient.Want{Stdin: true, Stdout: true, TTY: true})
		if err != nil {
			t.Fatal(err)
		}
		for range 200 { // more than the transport queues
			io.WriteString(c.Sizes, "}")
		}
		io.WriteString(c.Stdin, "still here")
		text := make([]byte, 10)
		if _, err := io.ReadFull(c.Stdout, text); err != nil || string(text) != "still here" {
			t.Errorf("%s: %q, %v", transport, text, err)
		}
		c.Kill()
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '['
	}
	return len(p), nil
}
