package main

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// says waits until a container has written a line.
func (n *node) says(container, line string) {
	n.t.Helper()
	n.soon("container says "+line, func() bool { return strings.Contains("\n"+n.logged(container), "\n"+line+"\n") })
}

// traps is a shell that says ready and ends with a code of its own for each of some signals.
func traps(name string) *cri.ContainerConfig {
	return container(name, "sh", "-c", "trap 'exit 1' TERM; trap 'exit 2' USR1; trap 'exit 3' USR2; trap 'exit 4' RTMIN+3; echo ready; while :; do sleep 0.01; done")
}

// TestStopSignal asks by the config's signal, else the image's, else SIGTERM.
func TestStopSignal(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	for _, c := range []struct {
		name   string
		signal cri.Signal
		code   int32
		shown  cri.Signal
	}{
		{"default", cri.Signal_SIGNAL_RUNTIME_DEFAULT, 1, cri.Signal_SIGNAL_SIGTERM},
		{"usr2", cri.Signal_SIGNAL_SIGUSR2, 3, cri.Signal_SIGNAL_SIGUSR2},
		{"kill", cri.Signal_SIGNAL_SIGKILL, 137, cri.Signal_SIGNAL_SIGKILL},
	} {
		config := traps(c.name)
		config.StopSignal = c.signal
		id := p.start(config)
		n.says(id, "ready")
		if s := n.status(id); s.StopSignal != c.shown {
			t.Errorf("%s: stop signal %v", c.name, s.StopSignal)
		}
		n.stop(id, 20)
		if s := n.status(id); s.ExitCode != c.code {
			t.Errorf("%s: exit code %d, want %d", c.name, s.ExitCode, c.code)
		}
	}
	config := container("image", "/probe", "sleep")
	config.Image.Image = scratch
	if s := n.status(p.create(config)); s.StopSignal != cri.Signal_SIGNAL_SIGUSR1 {
		t.Errorf("of the image: stop signal %v", s.StopSignal)
	}
}

// TestStopGrace kills what doesn't heed the signal, not earlier than it should.
func TestStopGrace(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	c := p.start(container("deaf", "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.01; done"))
	n.says(c, "ready")
	began := time.Now()
	n.stop(c, 1)
	if took := time.Since(began); took < time.Second {
		t.Errorf("a stop with a grace of 1 s took %v", took)
	}
	if s := n.status(c); s.ExitCode != 137 || s.Reason != "Error" {
		t.Errorf("%v", s)
	}
	frozen := p.start(container("frozen", "sleep", "1000"))
	if err := unix.Kill(n.seenContainer(frozen).PID, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	n.stop(frozen, 1)
	if s := n.status(frozen); s.ExitCode != 137 {
		t.Errorf("%v", s)
	}
}

// TestStopIsIdempotent stops what runs in several calls at once, and what doesn't run.
func TestStopIsIdempotent(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	c := p.start(container("app", "sh", "-c", "trap 'sleep 0.3; exit 9' TERM; echo ready; while :; do sleep 0.01; done"))
	n.says(c, "ready")
	var calls sync.WaitGroup
	for range 4 {
		calls.Go(func() { n.tryStop(c, 20) })
	}
	calls.Wait()
	if s := n.status(c); s.ExitCode != 9 {
		t.Errorf("%v", s)
	}
	n.stop(c, 20)
	created := p.create(container("created", "true"))
	n.stop(created, 20)
	if s := n.status(created); s.State != cri.ContainerState_CONTAINER_CREATED {
		t.Errorf("stopping a created container made it %v", s)
	}
	if _, err := n.RemoveContainer(n.ctx(), &cri.RemoveContainerRequest{ContainerId: c}); err != nil {
		t.Fatal(err)
	}
	n.stop(c, 20)
	n.stop("no-such", 20)
}

// tryStop is StopContainer for goroutines other than the test's.
func (n *node) tryStop(container string, grace int64) {
	if _, err := n.StopContainer(n.ctx(), &cri.StopContainerRequest{ContainerId: container, Timeout: grace}); err != nil {
		n.t.Errorf("StopContainer: %v", err)
	}
}

// TestStopTakesAll ends processes that the first one leaves behind in a PID namespace that lives on.
func TestStopTakesAll(t *testing.T) {
	n := commonNode(t)
	p := n.newPod(sharing(func(o *cri.NamespaceOption) { o.Pid = cri.NamespaceMode_POD }))
	watcher := p.start(n.like(p.config, container("watcher", "sleep", "2000")))
	c := p.start(n.like(p.config, container("leaver", "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10; do setsid sleep 3333 & done; trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done")))
	n.says(c, "ready")
	n.soon("ten sleepers", func() bool { return n.count(watcher, "sleep 3333") == 10 })
	n.stop(c, 20)
	if s := n.status(c); s.ExitCode != 0 || s.Reason != "Completed" {
		t.Errorf("%v", s)
	}
	n.noneOf(watcher, "sleep 3333")
}

// TestStopOfLimitedPatience: the caller's deadline ends the call, the container runs on, and the next call can kill it.
func TestStopOfLimitedPatience(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	c := p.start(container("deaf", "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.01; done"))
	n.says(c, "ready")
	ctx, cancel := context.WithTimeout(n.ctx(), 200*time.Millisecond)
	defer cancel()
	_, err := n.StopContainer(ctx, &cri.StopContainerRequest{ContainerId: c, Timeout: 1 << 62})
	n.fails(err, codes.DeadlineExceeded)
	if s := n.status(c); s.State != cri.ContainerState_CONTAINER_RUNNING {
		t.Errorf("%v", s)
	}
	n.stop(c, -5)
	if s := n.status(c); s.ExitCode != 137 {
		t.Errorf("%v", s)
	}
}
