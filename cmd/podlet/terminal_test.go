package main

import (
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestTerminal: with a TTY all three streams are one terminal, the container's own, whose output is in the log.
func TestTerminal(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	config := container("app", "sh", "-c", `
		[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo terminals; tty; echo $TERM; stat -c '%u:%g %a' /dev/pts/0
		echo to the console > /dev/console; echo to the tty > /dev/tty; ls -1 /dev/pts; echo end >&2`)
	config.Tty, config.Stdin = true, true
	security(func(s *cri.LinuxContainerSecurityContext) { s.RunAsUser = &cri.Int64Value{Value: 1000} })(config)
	id := p.start(config)
	if s := n.exited(id); s.ExitCode != 0 {
		t.Errorf("%v", s)
	}
	want := "terminals\r\n/dev/pts/0\r\nxterm\r\n1000:5 620\r\nto the console\r\nto the tty\r\n0\r\nptmx\r\nend\r\n"
	if out := n.logged(id); out != want {
		t.Errorf("%q, want %q", out, want)
	}
	// A terminal that nobody attends to is no reason to end.
	shell := container("shell", "sh")
	shell.Tty, shell.Stdin = true, true
	s := p.start(shell)
	// StartContainer returns in the middle of execve, when the command line isn't the new one yet.
	n.soon("the shell waits, and an exec beside it has no terminal", func() bool {
		out, _ := n.exec(s, "sh", "-c", "[ -t 0 ] || echo none; ps -o args | grep -c '^sh$'")
		return out == "none\n1\n"
	})
}

// TestStdin: stdin is /dev/null, or open and without end as long as nobody attaches.
func TestStdin(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	if out := p.output(container("closed", "cat")); out != "" {
		t.Errorf("%q", out)
	}
	config := container("open", "sh", "-c", "cat; echo ended")
	config.Stdin = true
	open := p.start(config)
	// In the middle of execve nobody may look.
	n.soon("stdin is a pipe", func() bool {
		f, _ := n.exec(open, "sh", "-c", "readlink /proc/1/fd/0 | cut -d: -f1")
		return f == "pipe\n"
	})
	if s := n.status(open); s.State != cri.ContainerState_CONTAINER_RUNNING {
		t.Errorf("%v", s)
	}
	n.stop(open, 0)
	if out := n.logged(open); out != "" {
		t.Errorf("%q", out)
	}
}
