package streaming

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/spdystream/spdy"

	"podlet/hack/streamclient"
)

// never takes nothing of what its client sends.
func never(ctx context.Context, _ *Streams) (int, error) {
	<-ctx.Done()
	return 0, context.Cause(ctx)
}

// forwardNever is a session whose every port takes nothing.
func (r *rig) forwardNever() string {
	r.t.Helper()
	url, err := r.Forward(&Forward{Ports: []uint16{80}, Dial: func(context.Context, uint16) (net.Conn, error) {
		ours, _ := net.Pipe()
		return ours, nil
	}})
	if err != nil {
		r.t.Fatal(err)
	}
	return url
}

// attacker is a client that speaks SPDY's frames itself and hears nothing.
type attacker struct {
	t    *testing.T
	conn net.Conn
	*spdy.Framer
}

func (r *rig) attack(url, protocol string) *attacker {
	r.t.Helper()
	conn, err := streamclient.Upgrade(url, protocol)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	go io.Copy(io.Discard, conn)
	framer, err := spdy.NewFramer(conn, conn)
	if err != nil {
		r.t.Fatal(err)
	}
	return &attacker{r.t, conn, framer}
}

// write says whether the frame was taken, if by the socket's queues only.
func (a *attacker) write(frame spdy.Frame) bool {
	a.conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	return a.WriteFrame(frame) == nil
}

// command opens the streams of a command.
func (a *attacker) command() {
	for i, kind := range []string{"error", "stdin", "stdout", "stderr"} {
		a.write(&spdy.SynStreamFrame{StreamId: spdy.StreamId(2*i + 1), Headers: http.Header{"streamType": {kind}}})
	}
}

// connections opens so many connections and gives the ids of their data.
func (a *attacker) connections(count int) (ids []spdy.StreamId) {
	for i := range count {
		for j, kind := range []string{"error", "data"} {
			id := spdy.StreamId(4*i + 2*j + 1)
			a.write(&spdy.SynStreamFrame{StreamId: id, Headers: http.Header{"streamType": {kind}, "port": {"80"}, "requestID": {fmt.Sprint(i)}}})
			if kind == "data" {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// heap is what is reachable, in bytes.
func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // pools keep what they have for one
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestCVE_E1Memory: whatever clients send that nobody takes, with tokens of their own, costs podlet little (CVE-2026-35469).
func TestCVE_E1Memory(t *testing.T) {
	const sessions, budget = 4, 8 << 20
	zeros := strings.Repeat("\x00", 1<<20-1)
	bomb := http.Header{}
	for i := range 4 {
		bomb[fmt.Sprint("x", i)] = []string{zeros}
	}
	for name, send := range map[string]func(r *rig){
		"headers that unpack to a thousand times as much, of new streams": func(r *rig) {
			a := r.attack(r.forwardNever(), "portforward.k8s.io")
			for i := range 40 {
				if !a.write(&spdy.SynStreamFrame{StreamId: spdy.StreamId(2*i + 1), Headers: bomb}) {
					return
				}
			}
		},
		"and of streams that are there": func(r *rig) {
			a := r.attack(r.forwardNever(), "portforward.k8s.io")
			for _, id := range a.connections(5) {
				for range 8 {
					if !a.write(&spdy.HeadersFrame{StreamId: id, Headers: bomb}) {
						return
					}
				}
			}
		},
		"stdin": func(r *rig) {
			a := r.attack(r.url(never), "v4.channel.k8s.io")
			a.command()
			for range 200 {
				if !a.write(&spdy.DataFrame{StreamId: 3, Data: make([]byte, dataMost)}) {
					return
				}
			}
		},
		"data of connections": func(r *rig) {
			a := r.attack(r.forwardNever(), "portforward.k8s.io")
			ids := a.connections(5)
			for i := range 400 {
				if !a.write(&spdy.DataFrame{StreamId: ids[i%5], Data: make([]byte, dataMost)}) {
					return
				}
			}
		},
		// Several for each session: one that is let in has room for twice its size while it comes.
		"WebSockets' messages": func(r *rig) {
			for range 3 {
				r.hugeMessage(r.url(never))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Config{Limits: Limits{Backlog: budget}})
			before := heap()
			var sending sync.WaitGroup
			for range sessions {
				sending.Go(func() { send(r) })
			}
			sending.Wait()
			// A session over SPDY costs a compressor, about 1 MiB. What is only on its way through goes by itself.
			r.settles("bytes held", before+budget+sessions<<21, heap)
			t.Logf("%d sessions hold %d KiB", sessions, (heap()-before)>>10)
		})
	}
}

// TestCVE_E1Messages: the end of one message and the beginning of the next in one piece: the first still counts.
func TestCVE_E1Messages(t *testing.T) {
	const sessions, budget = 12, 8 << 20
	r := newRig(t, Config{Limits: Limits{Backlog: budget}})
	before := heap()
	for range sessions {
		r.hugeMessage(r.url(never), oneByte...) // one after the other: each finds room if the one before gave it back
	}
	r.settles("bytes held", before+budget+sessions*sessionLeast, heap)
	t.Logf("%d sessions hold %d KiB", sessions, (heap()-before)>>10)
}

// hugeMessage begins a session over WebSocket with a message of 3 MiB, as much of it as is taken. Its end comes by itself, in one piece with more.
func (r *rig) hugeMessage(url string, more ...byte) {
	_, conn, err := streamclient.WebSocket(url, "v4.channel.k8s.io")
	if err != nil {
		r.t.Error(err)
		return
	}
	r.t.Cleanup(func() { conn.Close() })
	const size, last = 3 << 20, 100
	conn.Write(binaryMessage(size))
	for left := size - last; left > 0; left -= min(left, 1<<16) {
		conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		if _, err := conn.Write(make([]byte, min(left, 1<<16))); err != nil {
			return
		}
	}
	time.Sleep(50 * time.Millisecond) // what came is taken
	conn.Write(append(make([]byte, last), more...))
}

// TestBacklog: what waited for room comes, in whole and in order, also a message that is larger than all room there is.
func TestBacklog(t *testing.T) {
	r := newRig(t, Config{Limits: Limits{Backlog: 1 << 20}})
	text := bytes.Repeat([]byte("0123456789abcdef"), 3<<16) // 3 MiB
	for _, transport := range transports {
		begin := make(chan struct{})
		c := r.open(transport, r.url(func(ctx context.Context, s *Streams) (int, error) {
			<-begin
			_, err := io.Copy(struct{ io.Writer }{s.Stdout}, io.LimitReader(s.Stdin, int64(2*len(text))))
			return 0, err
		}))
		first := 1
		if transport != streamclient.SPDY {
			first = 2 << 20 // in one message
		}
		go func() {
			c.Stdin.Write(text[:first])
			for rest := append(text[first:], text...); len(rest) > 0; {
				n, err := c.Stdin.Write(rest[:min(len(rest), 32<<10)])
				if err != nil {
					return
				}
				rest = rest[n:]
			}
		}()
		time.AfterFunc(50*time.Millisecond, func() { close(begin) })
		if out, _, code, err := c.Output(); out != string(text)+string(text) || code != 0 || err != nil {
			t.Errorf("%s: %d bytes of %d, %d, %v", transport, len(out), 2*len(text), code, err)
		}
	}
}
