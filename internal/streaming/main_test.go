package streaming

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"podlet/hack/streamclient"
)

// transports are all ways to a session with a command.
var transports = []streamclient.Transport{streamclient.SPDY, streamclient.WebSocketV4, streamclient.WebSocketV5, streamclient.Base64}

// hangTime is how long a test waits until it takes what it waits for for hanging, however busy the machine is.
const hangTime = time.Minute

// rig is a server, which must leave no goroutine of a session, and no file.
type rig struct {
	t *testing.T
	*Server
}

func newRig(t *testing.T, cfg Config) *rig {
	t.Helper()
	files := openFiles(t)
	cfg.Address = "127.0.0.1:0"
	cfg.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t, s}
	t.Cleanup(func() {
		s.Close()
		r.settles("goroutines of sessions", 0, labelled)
		r.settles("files", files, func() int { return openFiles(t) })
	})
	return r
}

// labelled counts the goroutines of sessions. Those of clients, which are of the same transports, are none.
func labelled() (count int) {
	var profile strings.Builder
	pprof.Lookup("goroutine").WriteTo(&profile, 1)
	_, stacks, _ := strings.Cut(profile.String(), "\n") // behind the total
	for _, stack := range strings.Split(stacks, "\n\n") {
		if strings.Contains(stack, `"`+sessionLabel+`":`) {
			var n int
			fmt.Sscan(stack, &n)
			count += n
		}
	}
	return count
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// settles fails the test if there are more in the end than there were.
func (r *rig) settles(what string, before int, count func() int) {
	r.t.Helper()
	for deadline := time.Now().Add(hangTime); ; time.Sleep(5 * time.Millisecond) {
		now := count()
		if now <= before {
			return
		}
		if time.Now().After(deadline) {
			var stacks strings.Builder
			pprof.Lookup("goroutine").WriteTo(&stacks, 1)
			r.t.Fatalf("%d %s, %d before\n%s", now, what, before, stacks.String())
		}
	}
}

// url begins a session that run serves, with all streams.
func (r *rig) url(run func(ctx context.Context, s *Streams) (int, error)) string {
	r.t.Helper()
	url, err := r.Command(&Command{Kind: "exec", Stdin: true, Stdout: true, Stderr: true, Run: run})
	if err != nil {
		r.t.Fatal(err)
	}
	return url
}

var all = streamclient.Want{Stdin: true, Stdout: true, Stderr: true}

func (r *rig) open(t streamclient.Transport, url string) *streamclient.Command {
	r.t.Helper()
	c, err := streamclient.Open(url, t, all)
	if err != nil {
		r.t.Fatalf("%s: %v", t, err)
	}
	r.t.Cleanup(c.Kill)
	return c
}

// echo gives back what it hears, and then a code.
func echo(ctx context.Context, s *Streams) (int, error) {
	_, err := io.Copy(struct{ io.Writer }{s.Stdout}, s.Stdin)
	if err == nil {
		err = context.Cause(ctx)
	}
	return 7, err
}

// untilEnd waits for the session's end.
func untilEnd(ctx context.Context, s *Streams) (int, error) {
	go io.Copy(io.Discard, s.Stdin)
	<-ctx.Done()
	return 0, context.Cause(ctx)
}

// forwardEcho is a session whose every port is one of an echo server.
func (r *rig) forwardEcho() string {
	r.t.Helper()
	url, err := r.Forward(&Forward{Ports: []uint16{80}, Dial: func(context.Context, uint16) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			io.Copy(theirs, theirs)
		}()
		return ours, nil
	}})
	if err != nil {
		r.t.Fatal(err)
	}
	return url
}

// raw connects and says text.
func (r *rig) raw(text string) net.Conn {
	r.t.Helper()
	host := strings.Split(r.base, "/")[2]
	c, err := net.Dial("tcp", host)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, strings.ReplaceAll(text, "%s", host)); err != nil {
		r.t.Fatal(err)
	}
	return c
}
