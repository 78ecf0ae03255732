package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/hack/streamclient"
)

// TestStreamsWhenPodletEnds: stopped, podlet tells its clients; killed, it doesn't; and neither the container nor its log notices (SECURITY E2).
func TestStreamsWhenPodletEnds(t *testing.T) {
	n := newNode(t)
	config := withStdin(container("app", "sh", "-c", "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.02; done"), true)
	c := n.newPod().start(config)
	for _, end := range []string{"stopped", "killed"} {
		exec := n.streamExec(streamclient.SPDY, c, streamclient.Want{Stdin: true, Stdout: true}, "cat")
		terminal := n.streamExec(streamclient.WebSocketV5, c, streamclient.Want{Stdin: true, Stdout: true, TTY: true}, "sleep", "8888")
		attach := n.streamAttach(streamclient.WebSocketV4, c, streamclient.Want{Stdout: true})
		out := newTranscript(t, attach.Stdout)
		out.until("line")
		io.WriteString(exec.Stdin, "there\n")
		newTranscript(t, exec.Stdout).until("there\n")
		n.soon("the command runs", func() bool { return n.count(c, "sleep 8888") == 1 })
		if end == "stopped" {
			n.terminate()
		} else {
			n.kill()
		}
		for name, s := range map[string]*streamclient.Command{"exec": exec, "terminal": terminal, "attach": attach} {
			_, err := s.Wait()
			if err == nil || (end == "stopped") != strings.Contains(err.Error(), "podlet is stopping") {
				t.Errorf("%s: %s: %v", end, name, err)
			}
		}
		n.start()
		n.noneOf(c, "sleep 8888")
		before := strings.Count(n.logged(c), "\n")
		n.soon("the container goes on and so does its log", func() bool { return strings.Count(n.logged(c), "\n") > before+5 })
	}
	for i, line := range strings.Split(strings.TrimSpace(n.logged(c)), "\n") {
		if line != fmt.Sprintf("line %d", i+1) {
			t.Fatalf("line %d of the log: %q", i+1, line)
		}
	}
	n.exec(c, "true")
}

// census counts what sessions cost: podlet's open files and threads, and the processes of the container.
func (n *node) census(container string) string {
	n.t.Helper()
	out, _ := n.exec(container, "ps", "-o", "args")
	execs := 0
	for _, top := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		execs += len(glob(top + n.cgroup + "/*/exec-*"))
	}
	return fmt.Sprintf("%d files, %d processes, %d cgroups of commands", n.openFiles(), strings.Count(out, "\n"), execs)
}

// TestStreamsLeaveNothing: after many sessions, and after clients that were killed at every moment of one, podlet has what it had before.
func TestStreamsLeaveNothing(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	// The one reaps whatever a killed command leaves, the other listens to clients.
	c, talks := p.start(container("app", "sh", "-c", "while :; do sleep 0.05; done")), p.start(talker("talker"))
	n.serve(p.id, "tcp4", "127.0.0.1:80", echoAll)
	if _, _, code, err := n.streamExec(streamclient.SPDY, c, streamclient.Want{Stdout: true}, "true").Output(); code != 0 || err != nil {
		t.Fatal(code, err)
	}
	before := n.census(c)
	goroutines := n.goroutines()
	sessions, killed := 200, 50
	if testing.Short() {
		sessions, killed = 40, 12
	}
	var pool sync.WaitGroup
	for worker := range 8 {
		pool.Go(func() {
			for i := range sessions / 8 {
				transport := transports[i%len(transports)]
				s := n.streamExec(transport, c, streamclient.Want{Stdout: true, TTY: i%2 == 0}, "sh", "-c", "echo hello")
				if stdout, _, code, err := s.Output(); strings.TrimSpace(stdout) != "hello" || code != 0 || err != nil {
					t.Errorf("%d.%d: %q, %d, %v", worker, i, stdout, code, err)
				}
			}
		})
		pool.Go(func() {
			for i := range killed / 8 {
				n.killClient(p.id, c, talks, i+worker)
			}
		})
	}
	pool.Wait()
	for deadline := time.Now().Add(20 * time.Second); n.census(c) != before || n.goroutines() > goroutines; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("before: %s, %d goroutines; now: %s, %d:\n%s\n%s", before, goroutines, n.census(c), n.goroutines(), n.listFiles(), n.stacks())
		}
	}
	t.Logf("%s, %d goroutines", before, goroutines)
}

// killClient begins a session of one of all kinds and kills the client soon.
func (n *node) killClient(pod, c, talks string, kind int) {
	transport := transports[kind/3%len(transports)]
	wait := time.Duration(kind%5) * time.Millisecond
	switch kind % 3 {
	case 0:
		s := n.streamExec(transport, c, streamclient.Want{Stdin: true, Stdout: true, TTY: kind%2 == 0}, "sh", "-c", "while echo here; do sleep 0.01; done")
		go io.Copy(io.Discard, s.Stdout)
		time.Sleep(wait)
		s.Kill()
	case 1:
		s := n.streamAttach(transport, talks, everything)
		go io.WriteString(s.Stdin, "to nobody\n")
		time.Sleep(wait)
		s.Kill()
	case 2:
		f := n.openForward(pod)
		for range 20 {
			go func() {
				if d, err := f.Dial(80); err == nil {
					io.WriteString(d, "to nobody")
				}
			}()
		}
		time.Sleep(wait)
		f.Kill()
	}
}

func TestStreamAddress(t *testing.T) {
	n := commonNode(t)
	c := n.newPod().start(container("app", "sleep", "1000"))
	r, err := n.Exec(n.ctx(), &cri.ExecRequest{ContainerId: c, Cmd: []string{"true"}, Stdout: true})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(r.Url, "http://127.0.0.1:") {
		t.Errorf("streams are served at %s, not on loopback", r.Url)
	}
}

// TestStopWhileStreaming: clients that read nothing keep nobody from stopping the container, nor its pod (cri-o#6699).
func TestStopWhileStreaming(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	c := p.start(withStdin(container("app", "sh", "-c", "read go; seq 1 500000; sleep 1000"), false))
	exec := n.streamExec(streamclient.SPDY, c, streamclient.Want{Stdout: true}, "yes")
	terminal := n.streamExec(streamclient.WebSocketV5, c, streamclient.Want{Stdout: true, TTY: true}, "yes")
	attach := n.streamAttach(streamclient.SPDY, c, streamclient.Want{Stdin: true, Stdout: true})
	io.WriteString(attach.Stdin, "go\n")
	n.soon("all write", func() bool { return n.count(c, "yes") == 2 && n.count(c, "sleep") == 1 })
	began := time.Now()
	n.stop(c, 0)
	if _, err := n.RemovePodSandbox(n.ctx(), &cri.RemovePodSandboxRequest{PodSandboxId: p.id}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	// Their commands were killed with the container, and what was on its way comes.
	for name, s := range map[string]*streamclient.Command{"exec": exec, "terminal": terminal} {
		if stdout, _, code, err := s.Output(); code != 137 || err != nil || !strings.HasPrefix(stdout, "y") {
			t.Errorf("%s: %d bytes, %d, %v", name, len(stdout), code, err)
		}
	}
}
