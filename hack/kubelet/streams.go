package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// What kubectl's library does: see kubernetes/client. A WebSocket of v5 becomes SPDY in the kubelet, one of v4 reaches podlet.
var (
	execTransports    = []string{"SPDY", "v5", "v4"}
	forwardTransports = []string{"SPDY", "v5"}
)

// clientTime is how long a client may take, on a machine that others use, too.
const clientTime = 2 * time.Minute

// resets is how many connections one session of port-forward must outlive.
const resets = 1000

// streams: exec, attach and port-forward through the kubelet.
func (s *site) streams(ctx context.Context, p *page) error {
	if err := s.addPod("shell"); err != nil {
		return err
	}
	s.holds(ctx, p, "a pod with a shell on a terminal gets ready", s.podReady(ctx, "shell", true))
	pod, err := s.kubelet.pod(ctx, "shell")
	if err != nil {
		return err
	}
	for _, transport := range execTransports {
		s.claim(ctx, p, transport, "app", "exec on a terminal: the shell sees its window change twice, its exit code comes", "terminal")
	}
	for _, transport := range execTransports {
		bytes := s.catBytes
		if transport != "SPDY" {
			bytes /= 16 // what podlet does is much the same
		}
		s.claim(ctx, p, transport, "app", fmt.Sprintf("exec of cat: %d bytes come back as they went", bytes), "cat", strconv.FormatInt(bytes, 10))
	}
	for _, transport := range forwardTransports { // the others can't tell the end of stdin
		s.pipes(ctx, p, transport)
	}
	// Each sets what the next one asks for: it is the same shell.
	last := "nobody"
	s.claim(ctx, p, "SPDY", "shell", "attach to the shell", "attach", "before="+last+"; echo re''ady", "ready")
	for _, transport := range execTransports {
		s.claim(ctx, p, transport, "shell", "attach to the shell: it answers, and knows what the one before told it", "attach",
			"echo after $before; before="+transport, "after "+last)
		last = transport
	}
	for _, transport := range forwardTransports {
		s.claim(ctx, p, transport, "", fmt.Sprintf("port-forward: one session outlives %d connections that the app resets", resets), "forward", "8080", strconv.Itoa(resets))
	}
	for _, transport := range execTransports {
		s.killsClient(ctx, p, transport)
	}
	now, err := s.kubelet.pod(ctx, "shell")
	if err != nil {
		return err
	}
	p.check(now.ids() == pod.ids(), "the containers are those that they were")
	if err := s.removePod("shell"); err != nil {
		return err
	}
	s.holds(ctx, p, "the manifest of pod shell is removed: it ends", s.gone(ctx, "shell"))
	return nil
}

// client is a run of kubectl's library against a container of pod shell.
func (s *site) client(ctx context.Context, transport, container string, args ...string) *exec.Cmd {
	options := []string{"-kubelet", s.kubelet.api, "-pod", "shell-" + nodeName, "-container", container, "-transport", transport}
	return exec.CommandContext(ctx, s.clientBinary, append(options, args...)...)
}

// claim prints whether the client found what is claimed, with what it said.
func (s *site) claim(ctx context.Context, p *page, transport, container, claim string, args ...string) {
	ctx, cancel := context.WithTimeout(ctx, clientTime)
	defer cancel()
	client := s.client(ctx, transport, container, args...)
	var complaints strings.Builder // the library also complains of what it does itself
	client.Stderr = &complaints
	said, err := client.Output()
	p.check(err == nil, "over %s: %s", transport, claim)
	if err != nil {
		p.line("%v: %s", err, complaints.String())
	}
	if text := strings.TrimSpace(string(said)); text != "" {
		p.line("%s", text)
	}
}

// pipes: a script piped into a shell runs to its end, which is the end of its stdin; its outputs and its exit code are told apart.
func (s *site) pipes(ctx context.Context, p *page, transport string) {
	ctx, cancel := context.WithTimeout(ctx, clientTime)
	defer cancel()
	client := s.client(ctx, transport, "app", "run", "sh")
	client.Stdin = strings.NewReader("echo said\necho complained >&2\n(exit 3)\n")
	var said, complained strings.Builder
	client.Stdout, client.Stderr = &said, &complained
	began := time.Now()
	err := client.Run()
	took := time.Since(began)
	p.check(said.String() == "said\n" && complained.String() == "complained\n" && client.ProcessState.ExitCode() == 3,
		"over %s: exec of a shell that gets a script by a pipe: two outputs and an exit code, in %d ms", transport, took.Milliseconds())
	if client.ProcessState.ExitCode() != 3 {
		p.line("%v; it said %q and complained %q", err, said.String(), complained.String())
	}
}

// killsClient: a command ends with its client, though a kubelet stands between them.
func (s *site) killsClient(ctx context.Context, p *page, transport string) {
	client := s.client(ctx, transport, "app", "run", "sleep", "4321")
	in, err := client.StdinPipe() // open till the end
	if err == nil {
		defer in.Close()
		err = client.Start()
	}
	if err != nil {
		p.check(false, "over %s: a client starts: %v", transport, err)
		return
	}
	runs := func(want bool) func() error {
		return func() error {
			list, err := s.exec(ctx, "shell", "app", "ps", "-o", "args")
			if err != nil {
				return err
			}
			if strings.Contains(list, "sleep 4321") != want {
				return errors.New("its processes:\n" + list)
			}
			return nil
		}
	}
	s.holds(ctx, p, fmt.Sprintf("over %s: exec of a command that sleeps", transport), runs(true))
	client.Process.Kill()
	client.Wait()
	s.holds(ctx, p, "its client is killed: so is the command", runs(false))
}
