package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"podlet/hack/node"
)

// localhost has client ask web for its page. web may still be starting, so client asks until there is an answer.
func localhost(ctx context.Context, p *page, pod *pair) error {
	p.title("client reaches web over localhost")
	answer, err := pod.run(ctx, pod.client, "until wget -q -O - http://localhost:8080/ 2>/dev/null; do sleep 0.05; done")
	if err != nil {
		return err
	}
	p.line("client$ wget -q -O - http://localhost:8080/")
	p.line("%s", strings.TrimSpace(string(answer.Stdout)))
	p.check(strings.TrimSpace(string(answer.Stdout)) == greeting, "the page is web's")
	return nil
}

// logLine is a line of the CRI's log format: RFC 3339 with nanoseconds, stream, F for a full line, text.
var logLine = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(Z|[+-]\d\d:\d\d) (stdout|stderr) F (.*)$`)

// logs shows the log files that pause's log writer keeps.
func logs(ctx context.Context, p *page, pod *pair) error {
	p.title("The log files")
	for _, log := range []struct{ name, text string }{{"web", "serving on port 8080"}, {"client", greeting}} {
		name, text := log.name, log.text
		path := filepath.Join(pod.node.LogDir(), name+".log")
		lines, err := awaitLine(ctx, path, text)
		if err != nil {
			return err
		}
		last := lines[len(lines)-1]
		p.line("%s: %s", filepath.Base(path), last)
		formatted := true
		for _, line := range lines {
			formatted = formatted && logLine.MatchString(line)
		}
		match := logLine.FindStringSubmatch(last)
		p.check(formatted && match != nil && match[2] == "stdout" && match[3] == text, "%s.log has what %s printed, in the CRI's format", name, name)
	}
	return nil
}

// lineTime is how long a log line may take to appear.
const lineTime = 10 * time.Second

// awaitLine reads the file until a line ends with text, and gives all lines up to that one.
func awaitLine(ctx context.Context, path, text string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, lineTime)
	defer cancel()
	for {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var lines []string
		for line := range strings.Lines(string(content)) {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
			if strings.HasSuffix(line, " "+text+"\n") {
				return lines, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: no line %q within %s; it holds:\n%s", path, text, lineTime, content)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// exec shows that output, streams and exit codes come back, and whom a command sees.
func exec(ctx context.Context, p *page, pod *pair) error {
	p.title("ExecSync in client")
	began := time.Now()
	answer, err := pod.run(ctx, pod.client, "hostname; echo oh >&2; exit 7")
	if err != nil {
		return err
	}
	p.line("client$ hostname; echo oh >&2; exit 7        (%s)", took(began))
	p.line("stdout %q, stderr %q, exit code %d", answer.Stdout, answer.Stderr, answer.ExitCode)
	p.check(string(answer.Stdout) == "demo\n" && string(answer.Stderr) == "oh\n" && answer.ExitCode == 7, "both streams and the exit code are right")
	if answer, err = pod.run(ctx, pod.client, "tr '\\0' ' ' < /proc/1/cmdline"); err != nil {
		return err
	}
	first := strings.TrimSpace(string(answer.Stdout))
	p.line("its PID 1 is: %s", first)
	p.check(strings.HasPrefix(first, "/bin/sh -c while"), "the command is in client's PID namespace")
	return nil
}

// survival kills podlet and shows that nobody in the pod notices.
func survival(ctx context.Context, p *page, pod *pair) error {
	n := pod.node
	p.title("kill -9 of podlet, and the pod lives on")
	processes := []struct {
		name    string
		pid     int
		started string
	}{
		{"pause", pod.pausePID, startTime(pod.pausePID)},
		{"web", pod.webPID, startTime(pod.webPID)},
		{"client", pod.clientPID, startTime(pod.clientPID)},
	}
	old := n.PID()
	if err := n.Kill(); err != nil {
		return err
	}
	p.line("podlet (%d) is dead", old)
	grew, err := logGrows(ctx, n)
	if err != nil {
		return err
	}
	p.check(grew, "without podlet client asks, web answers, and client.log grows")
	for _, was := range processes {
		p.check(was.started != "" && startTime(was.pid) == was.started, "%s is the process it was: %d, started at tick %s", was.name, was.pid, was.started)
	}
	began := time.Now()
	if err := n.Serve(ctx); err != nil {
		return err
	}
	states, err := pod.states(ctx)
	if err != nil {
		return err
	}
	p.line("a new podlet (%d) knows the pod after %s", n.PID(), took(began))
	p.check(states == "READY RUNNING RUNNING", "it says: sandbox, web, client are %s", states)
	answer, err := pod.run(ctx, pod.web, "echo still here")
	if err != nil {
		return err
	}
	p.check(string(answer.Stdout) == "still here\n", "it can exec into web")
	return nil
}

// startTime is when a process was started, in clock ticks since the boot: with it a pid names one process. "" if there is none.
func startTime(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// proc_pid_stat(5): the name, which may hold anything, ends at the last bracket; starttime is the 20th field behind it.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 {
		return ""
	}
	return fields[19]
}

// logGrows waits for client.log to get a new line of web's.
func logGrows(ctx context.Context, n *node.Node) (bool, error) {
	path := filepath.Join(n.LogDir(), "client.log")
	size := func() (int64, error) {
		st, err := os.Stat(path)
		if err != nil {
			return 0, err
		}
		return st.Size(), nil
	}
	was, err := size()
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, lineTime)
	defer cancel()
	for {
		is, err := size()
		if err != nil || is > was {
			return err == nil, err
		}
		select {
		case <-ctx.Done():
			return false, nil
		case <-time.After(20 * time.Millisecond):
		}
	}
}
