package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// listen begins a stream of events, and returns when podlet listens.
func (n *node) listen() grpc.ServerStreamingClient[cri.ContainerEventResponse] {
	n.t.Helper()
	// It outlasts the calls of which it tells.
	ctx, cancel := context.WithTimeout(n.t.Context(), 10*hangTime)
	n.t.Cleanup(cancel)
	stream, err := n.GetContainerEvents(ctx, &cri.GetEventsRequest{})
	if err == nil {
		_, err = stream.Header()
	}
	if err != nil {
		n.t.Fatal(err)
	}
	return stream
}

// nextOf gives the next event of a pod; others may run beside it.
func nextOf(t *testing.T, stream grpc.ServerStreamingClient[cri.ContainerEventResponse], pod string) *cri.ContainerEventResponse {
	t.Helper()
	for {
		e, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if e.GetPodSandboxStatus().GetId() == pod {
			return e
		}
	}
}

// TestEvents: each step in the life of a pod and its containers is told once, in order, with what the whole pod is like.
func TestEvents(t *testing.T) {
	n := commonNode(t)
	last := time.Now()
	stream := n.listen()
	p := n.newPod()
	a := p.start(container("a", "sleep", "1000"))
	b := p.start(container("b", "sh", "-c", "exit 3"))
	n.exited(b)
	failed := p.create(container("failed", "/no/such"))
	if n.tryStart(failed) == nil {
		t.Fatal("what is not there was started")
	}
	if _, err := n.RemoveContainer(n.ctx(), &cri.RemoveContainerRequest{ContainerId: b}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := n.StopPodSandbox(n.ctx(), &cri.StopPodSandboxRequest{PodSandboxId: p.id}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if _, err := n.RemovePodSandbox(n.ctx(), &cri.RemovePodSandboxRequest{PodSandboxId: p.id}); err != nil {
			t.Fatal(err)
		}
	}
	other := n.newPod()

	names := map[string]string{p.id: "pod", a: "a", b: "b", failed: "failed"}
	var got []string
	for {
		e, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if e.PodSandboxStatus.GetId() == other.id {
			break
		}
		if e.PodSandboxStatus.GetId() != p.id || e.PodSandboxStatus.Metadata.GetUid() != p.config.Metadata.Uid {
			t.Fatalf("event of %v", e.PodSandboxStatus)
		}
		if at := time.Unix(0, e.CreatedAt); at.Before(last) {
			t.Errorf("event of %v after one of %v", at, last)
		} else {
			last = at
		}
		got = append(got, eventText(e, names))
	}
	want := []string{
		"pod CREATED: pod READY", "pod STARTED: pod READY",
		"a CREATED: pod READY, a CREATED 0", "a STARTED: pod READY, a RUNNING 0",
		"b CREATED: pod READY, a RUNNING 0, b CREATED 0", "b STARTED: pod READY, a RUNNING 0, b RUNNING 0", "b STOPPED: pod READY, a RUNNING 0, b EXITED 3",
		"failed CREATED: pod READY, a RUNNING 0, b EXITED 3, failed CREATED 0", "failed STARTED: pod READY, a RUNNING 0, b EXITED 3, failed RUNNING 0",
		"failed STOPPED: pod READY, a RUNNING 0, b EXITED 3, failed EXITED 128",
		"b DELETED: pod READY, a RUNNING 0, failed EXITED 128",
		"pod STOPPED: pod NOTREADY, a RUNNING 0, failed EXITED 128", "a STOPPED: pod NOTREADY, a EXITED 137, failed EXITED 128",
	}
	// The containers of a pod that is removed go in any order.
	if len(got) != len(want)+3 || !slices.Equal(got[:len(want)], want) || got[len(want)+2] != "pod DELETED: pod NOTREADY" {
		t.Errorf("got\n%s\nwant\n%s\nand the removals", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func eventText(e *cri.ContainerEventResponse, names map[string]string) string {
	text := fmt.Sprintf("%s %s: pod %s", names[e.ContainerId], strings.Split(e.ContainerEventType.String(), "_")[1],
		strings.TrimPrefix(e.PodSandboxStatus.State.String(), "SANDBOX_"))
	for _, c := range e.ContainersStatuses {
		text += fmt.Sprintf(", %s %s %d", names[c.Id], strings.TrimPrefix(c.State.String(), "CONTAINER_"), c.ExitCode)
	}
	return text
}

// TestEventsOfADeadPod: a pod that ends by itself is told, too.
func TestEventsOfADeadPod(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	app := p.start(container("app", "sleep", "1000"))
	stream := n.listen()
	if err := unix.Kill(n.seenPod(p.id).PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var got []string
	for len(got) < 2 {
		got = append(got, eventText(nextOf(t, stream, p.id), map[string]string{p.id: "pod", app: "app"}))
	}
	slices.Sort(got)
	if !strings.HasPrefix(got[0], "app STOPPED: pod NOTREADY, app EXITED 137") || !strings.HasPrefix(got[1], "pod STOPPED: pod NOTREADY") {
		t.Errorf("%q", got)
	}
}

// TestEventsEnd: streams of events don't keep podlet from stopping, and their clients learn why they end.
func TestEventsEnd(t *testing.T) {
	n := newNode(t)
	stream, err := n.GetContainerEvents(context.Background(), &cri.GetEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := stream.Recv()
		ended <- err
	}()
	// That the connection is gone is what a client learns whose stream podlet would have waited for.
	n.cmd.Process.Signal(unix.SIGTERM)
	if err := <-ended; status.Code(err) != codes.Unavailable || !contains(err.Error(), "stopping") {
		t.Errorf("%v", err)
	}
	if err := n.cmd.Wait(); err != nil {
		t.Error(err)
	}
	n.start()
}
