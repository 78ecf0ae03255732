package main

import (
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"

	"podlet/hack/vm/wire"
)

// served is the driver's end of an agent that runs in this process, past its Ready.
func served(t *testing.T) *wire.Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- serve(theirs) }()
	t.Cleanup(func() {
		ours.Close()
		if err := <-ended; err != nil {
			t.Errorf("the agent ended with %v as the driver hung up", err)
		}
	})
	if err := ours.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	conn := wire.NewConn(ours)
	kind, payload, err := conn.Receive()
	var ready wire.Ready
	if err == nil {
		err = json.Unmarshal(payload, &ready)
	}
	if err != nil || kind != wire.KindReady || ready.Kernel == "" || ready.Uptime <= 0 {
		t.Fatalf("the first frame is %q, %+v, %v", kind, ready, err)
	}
	return conn
}

// carryOut sends a command and its input, and gives all that comes back.
func carryOut(t *testing.T, conn *wire.Conn, run wire.Run, stdin string) (stdout, stderr string, exit wire.Exit) {
	t.Helper()
	run.Stdin = stdin != ""
	if err := conn.SendJSON(wire.KindRun, run); err != nil {
		t.Fatal(err)
	}
	if run.Stdin {
		for _, part := range []string{stdin, ""} {
			if err := conn.Send(wire.KindStdin, []byte(part)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for {
		kind, payload, err := conn.Receive()
		if err != nil {
			t.Fatal(err)
		}
		switch kind {
		case wire.KindStdout:
			stdout += string(payload)
		case wire.KindStderr:
			stderr += string(payload)
		case wire.KindExit:
			if err := json.Unmarshal(payload, &exit); err != nil {
				t.Fatal(err)
			}
			return stdout, stderr, exit
		}
	}
}

func TestCommands(t *testing.T) {
	conn := served(t)
	dir := t.TempDir()
	for _, c := range []struct {
		script, stdin  string
		stdout, stderr string
		code           int
		problem        string
	}{
		{script: "echo out; echo err >&2; exit 3", stdout: "out\n", stderr: "err\n", code: 3},
		{script: "cat", stdin: "what came in", stdout: "what came in"},
		{script: "cat", stdout: ""},
		{script: "pwd; echo $PWD $KEY", stdout: dir + "\n" + dir + " value\n"},
		{script: "kill -9 $$", code: 137, problem: "killed by SIGKILL"},
		// Input that nobody reads is no error, and the agent goes on.
		{script: "exec <&-; echo gone", stdin: strings.Repeat("x", 1<<18), stdout: "gone\n"},
	} {
		stdout, stderr, exit := carryOut(t, conn, wire.Run{Args: []string{"/bin/sh", "-c", c.script}, Dir: dir, Env: []string{"KEY=value"}}, c.stdin)
		if stdout != c.stdout || stderr != c.stderr || exit.Code != c.code || exit.Problem != c.problem || exit.Elapsed <= 0 {
			t.Errorf("%s: stdout %q, stderr %q, %+v", c.script, stdout, stderr, exit)
		}
	}
}

func TestNotStarted(t *testing.T) {
	conn := served(t)
	for _, c := range []struct {
		run  wire.Run
		want string
	}{
		{wire.Run{}, "the command is empty"},
		{wire.Run{Args: []string{"/nonexistent/program"}, Dir: "/"}, "no such file"},
		{wire.Run{Args: []string{"/bin/sh"}, Dir: "/nonexistent"}, "/nonexistent"},
	} {
		if _, _, exit := carryOut(t, conn, c.run, ""); exit.Code != 127 || !strings.Contains(exit.Problem, c.want) {
			t.Errorf("%v: %+v, want 127 and %q", c.run, exit, c.want)
		}
	}
}
