package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/hack/streamclient"
)

// talker is a container that answers each line on both outputs.
func talker(name string) *cri.ContainerConfig {
	c := container(name, "sh", "-c", "while read line; do echo out $line; echo err $line >&2; done; echo ended")
	c.Stdin = true
	return c
}

var everything = streamclient.Want{Stdin: true, Stdout: true, Stderr: true}

// attached is a client of a talker that is known to be there: what is written from now on it sees.
type attached struct {
	*streamclient.Command
	out, err *transcript
}

func (n *node) attach(t streamclient.Transport, container string) (a *attached) {
	n.t.Helper()
	n.soon("the client is attached", func() bool {
		a = &attached{Command: n.streamAttach(t, container, everything)}
		a.out, a.err = newTranscript(n.t, a.Stdout), newTranscript(n.t, a.Stderr)
		// Its stdin is connected after its output is.
		io.WriteString(a.Stdin, "hello\n")
		a.out.text = <-a.out.came
		if a.out.text != "" {
			return true
		}
		// One that went before it may still count among the four that there may be.
		if _, err := a.Wait(); err == nil || !strings.Contains(err.Error(), "4 clients") {
			n.t.Fatalf("%s: attach: %v", t, err)
		}
		return false
	})
	a.out.until("out hello\n")
	return a
}

// TestAttach: clients come and go, each sees what is written while it is there, and the log has all.
func TestAttach(t *testing.T) {
	n := commonNode(t)
	c := n.newPod().start(talker("app"))
	lines := 0
	for i, transport := range transports {
		first, second := n.attach(transport, c), n.attach(transport, c)
		line := fmt.Sprintf("line %d", i)
		io.WriteString(first.Stdin, line+"\n")
		first.out.until("out " + line + "\n")
		second.out.until("out " + line + "\n")
		second.err.until("err " + line + "\n")
		first.Kill()
		third := n.attach(transport, c)
		second.out.until("out hello\n")
		third.Close()
		second.Close()
		lines += 4
	}
	if s := n.status(c); s.State != cri.ContainerState_CONTAINER_RUNNING {
		t.Errorf("the container did not outlive its clients: %v", s)
	}
	n.soon("the log has all", func() bool { return strings.Count(n.logged(c), "\n") == 2*lines })
	n.stop(c, 0)
}

// TestAttachEnds: a container's end is its clients', with success; the end of stdin is the container's where it has stdinOnce.
func TestAttachEnds(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	for i, transport := range []streamclient.Transport{streamclient.SPDY, streamclient.WebSocketV5} {
		config := talker(fmt.Sprintf("once-%d", i))
		config.StdinOnce = true
		c := p.start(config)
		s := n.streamAttach(transport, c, everything)
		io.WriteString(s.Stdin, "line\n")
		s.Stdin.Close()
		if stdout, stderr, code, err := s.Output(); stdout != "out line\nended\n" || stderr != "err line\n" || code != 0 || err != nil {
			t.Errorf("%s: %q, %q, %d, %v", transport, stdout, stderr, code, err)
		}
		n.exited(c)
		// A client that hears nothing is one too.
		c = p.start(withStdin(container(fmt.Sprintf("gone-%d", i), "cat"), true))
		s = n.streamAttach(transport, c, streamclient.Want{Stdin: true})
		io.WriteString(s.Stdin, "here\n")
		n.soon("the client is attached", func() bool { return n.logged(c) == "here\n" })
		s.Close()
		n.exited(c)
		// Without stdinOnce stdin outlives its clients.
		c = p.start(withStdin(container(fmt.Sprintf("open-%d", i), "cat"), false))
		s = n.streamAttach(transport, c, streamclient.Want{Stdin: true, Stdout: true})
		out := newTranscript(t, s.Stdout)
		io.WriteString(s.Stdin, "to cat\n")
		out.until("to cat\n")
		s.Stdin.Close()
		again := n.streamAttach(transport, c, streamclient.Want{Stdin: true, Stdout: true})
		io.WriteString(again.Stdin, "once more\n")
		newTranscript(t, again.Stdout).until("once more\n")
		out.until("once more\n")
		n.stop(c, 0)
		if code, err := s.Wait(); code != 0 || err != nil {
			t.Errorf("%s: the end of an attached container: %d, %v", transport, code, err)
		}
	}
}

func withStdin(c *cri.ContainerConfig, once bool) *cri.ContainerConfig {
	c.Stdin, c.StdinOnce = true, once
	return c
}

// TestAttachTTY: a shell on a terminal, with several clients, whose size is the latest one's.
func TestAttachTTY(t *testing.T) {
	n := commonNode(t)
	config := withStdin(container("shell", "sh"), true)
	config.Tty = true
	c := n.newPod().start(config)
	for _, transport := range []streamclient.Transport{streamclient.SPDY, streamclient.WebSocketV5} {
		want := streamclient.Want{Stdin: true, Stdout: true, TTY: true}
		s, watcher := n.streamAttach(transport, c, want), n.streamAttach(transport, c, want)
		out, other := newTranscript(t, s.Stdout), newTranscript(t, watcher.Stdout)
		// What a client says is answered where it is heard: from then on it hears the others, too.
		io.WriteString(watcher.Stdin, "echo he''re\n")
		other.until("here\r\n")
		s.Resize(100, 30)
		io.WriteString(s.Stdin, "until [ \"$(stty size)\" = '30 100' ]; do :; done; echo si''zed\n")
		out.until("sized\r\n")
		other.until("sized\r\n")
		watcher.Resize(101, 31)
		io.WriteString(watcher.Stdin, "until [ \"$(stty size)\" = '31 101' ]; do :; done; echo si''zed\n")
		out.until("sized\r\n")
		s.Close()
		watcher.Kill()
	}
	last := n.streamAttach(streamclient.SPDY, c, streamclient.Want{Stdin: true, Stdout: true, TTY: true})
	io.WriteString(last.Stdin, "exit 5\n")
	if _, _, code, err := last.Output(); code != 0 || err != nil {
		t.Errorf("%d, %v", code, err)
	}
	if s := n.exited(c); s.ExitCode != 5 {
		t.Errorf("%v", s)
	}
}

// TestAttachSlow: a client that doesn't read is told so in the end, and nobody waits for it: not the app, not the log, not another client.
func TestAttachSlow(t *testing.T) {
	n := commonNode(t)
	config := withStdin(container("app", "sh", "-c", "while read line; do [ $line = go ] && break; echo out $line; done; seq 1 2000000; echo end; sleep 1000"), false)
	c := n.newPod().start(config)
	quick := n.attach(streamclient.WebSocketV5, c)
	slow := n.streamAttach(streamclient.SPDY, c, streamclient.Want{Stdin: true, Stdout: true})
	io.WriteString(slow.Stdin, "go\n")
	heard := make(chan string, 1)
	go func() {
		_, err := quick.Wait()
		heard <- fmt.Sprint(err)
	}()
	end := quick.out.text
	for !strings.HasSuffix(end, "\n2000000\nend\n") {
		more, ok := <-quick.out.came
		if !ok {
			// On a busy machine it may be too slow as well; then it is told.
			if why := <-heard; !strings.Contains(why, "too slow") {
				t.Errorf("the quick client: %s", why)
			}
			break
		}
		end = (end + more)[max(0, len(end+more)-20):]
	}
	log, err := os.Open(n.status(c).LogPath)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	// That may take long, but it never stands still.
	for last := ""; !strings.Contains(last, " F 2000000\n") || !strings.HasSuffix(last, " F end\n"); {
		before := last
		n.soon("the log grows to its end", func() bool {
			last = lastOf(log)
			return last != before
		})
	}
	// What is on its way to the client comes, and then the reason why no more does.
	if stdout, _, _, err := slow.Output(); err == nil || !strings.Contains(err.Error(), "too slow") || !strings.HasPrefix(stdout, "1\n2\n3\n") {
		t.Errorf("%d bytes, %v", len(stdout), err)
	}
	if s := n.status(c); s.State != cri.ContainerState_CONTAINER_RUNNING {
		t.Errorf("%v", s)
	}
}

// lastOf gives the last bytes of a log, two lines at least.
func lastOf(log *os.File) string {
	fi, err := log.Stat()
	if err != nil {
		return err.Error()
	}
	b := make([]byte, 200)
	k, _ := log.ReadAt(b, max(0, fi.Size()-200))
	return string(b[:k])
}

// TestAttachMost: pause copies for four clients at a time. One more is told; when one goes there is room again.
func TestAttachMost(t *testing.T) {
	n := commonNode(t)
	c := n.newPod().start(talker("app"))
	first := n.attach(streamclient.SPDY, c)
	for range 3 {
		n.attach(streamclient.SPDY, c)
	}
	refused := func() bool {
		s := n.streamAttach(streamclient.SPDY, c, everything)
		io.WriteString(s.Stdin, "there\n")
		defer s.Close()
		b := make([]byte, 100)
		if k, _ := s.Stdout.Read(b); k > 0 {
			return false
		}
		_, err := s.Wait()
		if err == nil || !strings.Contains(err.Error(), "4 clients") {
			t.Errorf("one client more: %v", err)
		}
		return true
	}
	if !refused() {
		t.Error("a fifth client is attached")
	}
	first.Kill()
	n.soon("there is room again", func() bool { return !refused() })
}

func TestAttachRefused(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	running, exited := p.start(talker("app")), p.start(container("exited", "true"))
	n.exited(exited)
	for _, e := range []struct {
		what    string
		request *cri.AttachRequest
		code    codes.Code
		names   []string
	}{
		{"unknown container", &cri.AttachRequest{ContainerId: "no-such", Stdout: true}, codes.NotFound, []string{"no-such"}},
		{"exited", &cri.AttachRequest{ContainerId: exited, Stdout: true}, codes.FailedPrecondition, []string{"exited"}},
		{"no streams", &cri.AttachRequest{ContainerId: running}, codes.InvalidArgument, []string{"stdin"}},
		{"tty of a container without", &cri.AttachRequest{ContainerId: running, Stdout: true, Tty: true}, codes.InvalidArgument, []string{"tty"}},
		{"stderr with tty", &cri.AttachRequest{ContainerId: running, Tty: true, Stderr: true}, codes.InvalidArgument, []string{"tty"}},
	} {
		_, err := n.Attach(n.ctx(), e.request)
		if err == nil {
			t.Errorf("%s: succeeds", e.what)
			continue
		}
		n.fails(err, e.code, e.names...)
	}
	n.stop(running, 0)
}
