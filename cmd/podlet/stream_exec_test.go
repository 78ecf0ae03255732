package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/hack/streamclient"
)

// TestStreamExec: a command's streams and its exit code, over every transport.
func TestStreamExec(t *testing.T) {
	n := commonNode(t)
	c := n.newPod().start(container("app", "sleep", "1000"))
	all, out := streamclient.Want{Stdin: true, Stdout: true, Stderr: true}, streamclient.Want{Stdout: true}
	for _, transport := range transports {
		for _, e := range []struct {
			script         string
			want           streamclient.Want
			stdout, stderr string
			code           int
		}{
			{"echo out; echo err >&2; exit 3", streamclient.Want{Stdout: true, Stderr: true}, "out\n", "err\n", 3},
			{"read line; echo got $line", all, "got hello\n", "", 0},
			{"cat; echo end; echo err >&2; kill -9 $$", out, "end\n", "", 137},
			{"exit 255", out, "", "", 255},
		} {
			s := n.streamExec(transport, c, e.want, "sh", "-c", e.script)
			if s.Stdin != nil {
				io.WriteString(s.Stdin, "hello\n")
			}
			stdout, stderr, code, err := s.Output()
			if err != nil || stdout != e.stdout || stderr != e.stderr || code != e.code {
				t.Errorf("%s: %s: %q, %q, %d, %v", transport, e.script, stdout, stderr, code, err)
			}
		}
	}
}

// TestStreamHalfClose: the client's end of stdin is the command's, and no more than that (conmon#119).
func TestStreamHalfClose(t *testing.T) {
	n := commonNode(t)
	c := n.newPod().start(container("app", "sleep", "1000"))
	for _, transport := range []streamclient.Transport{streamclient.SPDY, streamclient.WebSocketV5} {
		s := n.streamExec(transport, c, streamclient.Want{Stdin: true, Stdout: true}, "sh", "-c", "wc -c; echo after")
		io.WriteString(s.Stdin, "12345")
		s.Stdin.Close()
		if stdout, _, code, err := s.Output(); err != nil || code != 0 || stdout != "5\nafter\n" {
			t.Errorf("%s: %q, %d, %v", transport, stdout, code, err)
		}
	}
}

// TestStreamExecIsWhole: what goes in comes out, byte for byte, and what a command wrote before its end is there however slow the client is
// (kubernetes#124571).
func TestStreamExecIsWhole(t *testing.T) {
	n := commonNode(t)
	c := n.newPod().start(container("app", "sleep", "1000"))
	times, last := 1, 100000
	if *streamSessions >= 1000 {
		times, last = 100, 2000000
	}
	for _, transport := range []streamclient.Transport{streamclient.SPDY, streamclient.WebSocketV5} {
		s := n.streamExec(transport, c, streamclient.Want{Stdin: true, Stdout: true}, "cat")
		text := bytes.Repeat([]byte("0123456789abcde\n"), 1<<20) // 16 MiB
		go func() {
			io.Copy(struct{ io.Writer }{s.Stdin}, struct{ io.Reader }{bytes.NewReader(text)})
			s.Stdin.Close()
		}()
		if stdout, _, code, err := s.Output(); err != nil || code != 0 || sha256.Sum256([]byte(stdout)) != sha256.Sum256(text) {
			t.Errorf("%s: %d bytes of %d, %d, %v", transport, len(stdout), len(text), code, err)
		}
		for range times {
			n.slowly(transport, c, last)
		}
	}
}

// slowly reads what a command writes, with a rest after each piece.
func (n *node) slowly(transport streamclient.Transport, container string, last int) {
	n.t.Helper()
	s := n.streamExec(transport, container, streamclient.Want{Stdout: true}, "seq", "1", fmt.Sprint(last))
	var lines, bytes int
	var line string
	in := bufio.NewReaderSize(s.Stdout, 16<<10)
	for {
		text, err := in.ReadString('\n')
		if err != nil {
			break
		}
		if lines++; lines%3000 == 0 {
			time.Sleep(time.Millisecond)
		}
		bytes += len(text)
		line = text
	}
	if code, err := s.Wait(); err != nil || code != 0 || line != fmt.Sprintln(last) || lines != last {
		n.t.Errorf("%s: %d lines in %d bytes, the last one %q, %d, %v", transport, lines, bytes, line, code, err)
	}
	s.Close()
}

// TestStreamExecIsNotHeldUp by a child in the background that keeps the output open.
func TestStreamExecIsNotHeldUp(t *testing.T) {
	n := commonNode(t)
	c := n.newPod().start(container("app", "sleep", "1000"))
	for _, tty := range []bool{false, true} {
		s := n.streamExec(streamclient.SPDY, c, streamclient.Want{Stdout: true, TTY: tty}, "sh", "-c", "trap '' HUP; echo begun; sleep 5555 & exit 3")
		hangs := time.AfterFunc(hangTime, s.Kill)
		if stdout, _, code, err := s.Output(); strings.TrimSpace(stdout) != "begun" || code != 3 || err != nil {
			t.Errorf("tty %v: %q, %d, %v", tty, stdout, code, err)
		}
		hangs.Stop()
	}
}

// TestStreamExecTTY: a terminal of the container's own, whose size follows the client's window.
func TestStreamExecTTY(t *testing.T) {
	n := commonNode(t)
	config := container("app", "sleep", "1000")
	security(func(s *cri.LinuxContainerSecurityContext) { s.RunAsUser = &cri.Int64Value{Value: 1000} })(config)
	c := n.newPod().start(config)
	inUserNS := n.newPod(sharing(userNS))
	mapped := inUserNS.start(n.like(inUserNS.config, container("mapped", "sleep", "1000")))
	s := n.streamExec(streamclient.SPDY, mapped, streamclient.Want{Stdout: true, TTY: true}, "sh", "-c", "tty; stat -c '%u:%g %a' $(tty); echo > /dev/tty")
	if out, _, code, err := s.Output(); out != "/dev/pts/0\r\n0:5 620\r\n\r\n" || code != 0 || err != nil {
		t.Errorf("in a user namespace: %q, %d, %v", out, code, err)
	}
	for _, transport := range []streamclient.Transport{streamclient.SPDY, streamclient.WebSocketV5} {
		s := n.streamExec(transport, c, streamclient.Want{Stdin: true, Stdout: true, TTY: true}, "sh")
		out := newTranscript(t, s.Stdout)
		io.WriteString(s.Stdin, "tty; stat -c '%u:%g %a' $(tty); echo $TERM; [ -t 2 ] && echo al''l\n")
		if text := out.until("all\r\n"); !strings.Contains(text, "/dev/pts/0\r\n1000:5 620\r\nxterm\r\n") {
			t.Errorf("%s: %q", transport, text)
		}
		for _, size := range [][2]int{{132, 43}, {80, 25}} {
			s.Resize(size[0], size[1])
			// The size comes by another stream than the command that asks for it.
			io.WriteString(s.Stdin, fmt.Sprintf("until [ \"$(stty size)\" = '%d %d' ]; do :; done; echo si''zed\n", size[1], size[0]))
			out.until("sized\r\n")
		}
		// ^C is the terminal's: it interrupts the program, not the shell.
		io.WriteString(s.Stdin, "echo sle''eps; sleep 4444\n")
		out.until("sleeps\r\n")
		n.soon("sleep runs", func() bool { return n.count(c, "sleep 4444") == 1 })
		io.WriteString(s.Stdin, "\x03")
		n.noneOf(c, "sleep 4444")
		io.WriteString(s.Stdin, "exit 7\n")
		if code, err := s.Wait(); code != 7 || err != nil {
			t.Errorf("%s: %d, %v", transport, code, err)
		}
		s.Close()
	}
	// The end of a short one is there too (cri-o#8483).
	for i := range *streamSessions {
		s := n.streamExec(streamclient.SPDY, c, streamclient.Want{Stdout: true, TTY: true}, "echo", "x")
		if stdout, _, code, err := s.Output(); stdout != "x\r\n" || code != 0 || err != nil {
			t.Fatalf("%d: %q, %d, %v", i, stdout, code, err)
		}
	}
}

// TestCVE_E3: a command that can't start is an error that says so, whatever the client sends to it (CVE-2022-23471).
func TestCVE_E3(t *testing.T) {
	n := commonNode(t)
	c := n.newPod().start(container("app", "sleep", "1000"))
	for _, transport := range transports {
		s := n.streamExec(transport, c, streamclient.Want{Stdin: true, Stdout: true, TTY: true}, "/no/such")
		go func() {
			for i := range 10000 {
				if s.Resize(i, i) != nil {
					return
				}
			}
		}()
		if _, _, _, err := s.Output(); err == nil || !strings.Contains(err.Error(), "/no/such") || !strings.Contains(err.Error(), "ENOENT") {
			t.Errorf("%s: %v", transport, err)
		}
	}
}

// TestStreamExecFalseTerminal: what a container puts in the place of its /dev/pts is not opened.
func TestStreamExecFalseTerminal(t *testing.T) {
	n := commonNode(t)
	for name, script := range map[string]string{
		"tmpfs": "umount /dev/pts && mount -t tmpfs none /dev/pts && mkfifo /dev/pts/ptmx",
		"link":  "umount /dev/pts && rmdir /dev/pts && ln -s /proc/1/root/dev/pts /dev/pts",
		"none":  "umount /dev/pts",
	} {
		config := container(name, "sh", "-c", script+" && echo done; sleep 1000")
		security(func(s *cri.LinuxContainerSecurityContext) {
			s.Capabilities = &cri.Capability{AddCapabilities: []string{"SYS_ADMIN"}}
		})(config)
		c := n.newPod().start(config)
		n.soon("/dev/pts is another", func() bool { return strings.Contains(n.logged(c), "done") })
		s := n.streamExec(streamclient.SPDY, c, streamclient.Want{Stdin: true, Stdout: true, TTY: true}, "true")
		hangs := time.AfterFunc(hangTime, s.Kill)
		if _, _, _, err := s.Output(); err == nil || !strings.Contains(err.Error(), "/dev/pts") {
			t.Errorf("%s: %v", name, err)
		}
		hangs.Stop()
	}
}

// killed ends a client with a reset while it sends more than anybody takes.
func killed(s *streamclient.Command) {
	stuff := bytes.Repeat([]byte{' '}, 1<<20)
	go io.Copy(struct{ io.Writer }{s.Stdin}, struct{ io.Reader }{bytes.NewReader(stuff)})
	s.Kill()
}

// closed ends a client behind more than the command's pipe takes. All of it fits into the connection, or the end would wait for its turn in the client's kernel.
func closed(s *streamclient.Command) {
	s.Stdin.Write(bytes.Repeat([]byte{' '}, 96<<10))
	s.Close()
}

// TestStreamExecGone: a client that goes takes all its command started with it; one that has a terminal hangs up.
func TestStreamExecGone(t *testing.T) {
	n := commonNode(t)
	c := n.newPod().start(container("app", "sleep", "1000"))
	for i, e := range []struct {
		transport streamclient.Transport
		tty       bool
		end       func(*streamclient.Command)
	}{
		{streamclient.SPDY, false, killed},
		{streamclient.SPDY, true, closed},
		{streamclient.WebSocketV5, false, closed},
		{streamclient.WebSocketV5, true, killed},
	} {
		// What hangs up has a second to end by itself. On a busy machine that may be too short for a shell, but not each time.
		hungUp := false
		for try := 0; try == 0 || e.tty && !hungUp && try < 20; try++ {
			hup := fmt.Sprintf("/dev/shm/hup-%d-%d", i, try)
			s := n.streamExec(e.transport, c, streamclient.Want{Stdin: true, Stdout: true, TTY: e.tty}, "sh", "-c",
				"trap 'echo hung up > "+hup+"; exit' HUP; setsid sleep 7777 & echo begun; while :; do sleep 0.1; done")
			newTranscript(t, s.Stdout).until("begun")
			n.soon("the child in the background", func() bool { return n.count(c, "sleep 7777") == 1 })
			// It wants nothing of what it is sent, which must not hide that the client goes.
			e.end(s)
			n.noneOf(c, "sleep 7777")
			said, _ := n.exec(c, "cat", hup)
			hungUp = said == "hung up\n"
		}
		if hungUp != e.tty {
			t.Errorf("%s, tty %v: hung up: %v", e.transport, e.tty, hungUp)
		}
	}
}

func TestStreamExecRefused(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	running, created := p.start(container("app", "sleep", "1000")), p.create(container("created", "true"))
	for _, e := range []struct {
		what    string
		request *cri.ExecRequest
		code    codes.Code
		names   []string
	}{
		{"unknown container", &cri.ExecRequest{ContainerId: "no-such", Cmd: []string{"true"}, Stdout: true}, codes.NotFound, []string{"no-such"}},
		{"created", &cri.ExecRequest{ContainerId: created, Cmd: []string{"true"}, Stdout: true}, codes.FailedPrecondition, []string{"created"}},
		{"no command", &cri.ExecRequest{ContainerId: running, Stdout: true}, codes.InvalidArgument, []string{"no command"}},
		{"NUL", &cri.ExecRequest{ContainerId: running, Cmd: []string{"a\x00b"}, Stdout: true}, codes.InvalidArgument, []string{"NUL"}},
		{"no streams", &cri.ExecRequest{ContainerId: running, Cmd: []string{"true"}}, codes.InvalidArgument, []string{"stdin"}},
		{"stderr with tty", &cri.ExecRequest{ContainerId: running, Cmd: []string{"true"}, Tty: true, Stderr: true}, codes.InvalidArgument, []string{"tty"}},
	} {
		_, err := n.Exec(n.ctx(), e.request)
		if err == nil {
			t.Errorf("%s: succeeds", e.what)
			continue
		}
		n.fails(err, e.code, e.names...)
	}
	// A URL is good once.
	r, err := n.Exec(n.ctx(), &cri.ExecRequest{ContainerId: running, Cmd: []string{"true"}, Stdout: true})
	if err != nil {
		t.Fatal(err)
	}
	want := streamclient.Want{Stdout: true}
	if _, _, code, err := n.open(streamclient.SPDY, r.Url, want).Output(); code != 0 || err != nil {
		t.Errorf("%d, %v", code, err)
	}
	for _, transport := range transports {
		var refused *streamclient.RefusedError
		_, err := streamclient.Open(r.Url, transport, want)
		if err == nil || transport == streamclient.SPDY && (!errors.As(err, &refused) || refused.Code != 404) {
			t.Errorf("%s: a used URL: %v", transport, err)
		}
	}
	// A container that ends before the client comes.
	if r, err = n.Exec(n.ctx(), &cri.ExecRequest{ContainerId: running, Cmd: []string{"true"}, Stdout: true}); err != nil {
		t.Fatal(err)
	}
	n.stop(running, 0)
	if _, _, _, err := n.open(streamclient.SPDY, r.Url, want).Output(); err == nil || !strings.Contains(err.Error(), "not running") {
		t.Errorf("an exec in a container that has ended: %v", err)
	}
}
