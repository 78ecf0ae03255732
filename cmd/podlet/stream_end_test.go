package main

import (
	"fmt"
	"io"
	"strings"
	"testing"

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
		go func() { // what isn't read would hold up the status behind it
			for range out.came {
			}
		}()
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

// TestStdinOutlivesPodlet: where stdin ends with its client's session, the end of podlet is none: neither a stop nor a death. The client's own end still is.
func TestStdinOutlivesPodlet(t *testing.T) {
	n := newNode(t)
	p := n.newPod()
	wants := map[string]streamclient.Want{"all": {Stdin: true, Stdout: true}, "stdin": {Stdin: true}}
	apps := map[string]string{}
	for name := range wants {
		apps[name] = p.start(withStdin(container(name, "sh", "-c", "cat; echo EOF; sleep 1000"), true))
	}
	transport := streamclient.SPDY
	log := map[string]string{}
	say := func(text string) map[string]*streamclient.Command {
		sessions := map[string]*streamclient.Command{}
		for name, want := range wants {
			s := n.streamAttach(transport, apps[name], want)
			sessions[name] = s
			io.WriteString(s.Stdin, text+"\n")
			log[name] += text + "\n"
			var got string
			n.soon(name+" hears "+text, func() bool { got = n.logged(apps[name]); return len(got) >= len(log[name]) })
			if got != log[name] {
				t.Fatalf("%s: a container whose client said %q logs %q", name, log[name], got)
			}
		}
		return sessions
	}
	for _, transport = range []streamclient.Transport{streamclient.SPDY, streamclient.WebSocketV5} {
		say("stop")
		n.terminate()
		n.start()
		say("die")
		n.kill()
		n.start()
	}
	for name, s := range say("end") {
		s.Close()
		n.soon(name+" has the end of its stdin", func() bool { return n.logged(apps[name]) == log[name]+"EOF\n" })
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
	n.stop(c, 0)
	if _, err := n.RemovePodSandbox(n.ctx(), &cri.RemovePodSandboxRequest{PodSandboxId: p.id}); err != nil {
		t.Fatal(err)
	}
	// Their commands were killed with the container, and what was on its way comes.
	for name, s := range map[string]*streamclient.Command{"exec": exec, "terminal": terminal} {
		if stdout, _, code, err := s.Output(); code != 137 || err != nil || !strings.HasPrefix(stdout, "y") {
			t.Errorf("%s: %d bytes, %d, %v", name, len(stdout), code, err)
		}
	}
}
