package main

import (
	"context"
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestNamesAreTaken: metadata names one pod and one container of it until that is removed.
func TestNamesAreTaken(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	_, err := n.RunPodSandbox(n.ctx(), &cri.RunPodSandboxRequest{Config: p.config})
	n.fails(err, codes.AlreadyExists, p.config.Metadata.Name, p.id)
	for _, change := range []func(*cri.PodSandboxConfig){
		func(c *cri.PodSandboxConfig) { c.Metadata.Attempt++ },
		func(c *cri.PodSandboxConfig) { c.Metadata.Uid += "x" },
		func(c *cri.PodSandboxConfig) { c.Metadata.Namespace += "x" },
	} {
		n.run(n.sandbox(p.config.Metadata.Name, change))
	}
	c := p.create(container("app", "true"))
	_, err = p.tryCreate(container("app", "true"))
	n.fails(err, codes.AlreadyExists, "app", c)
	again := container("app", "true")
	again.Metadata.Attempt = 1
	p.create(again)
	if _, err := n.RemoveContainer(n.ctx(), &cri.RemoveContainerRequest{ContainerId: c}); err != nil {
		t.Fatal(err)
	}
	if other := p.create(container("app", "true")); other == c {
		t.Error("an id was given twice")
	}
	if _, err := n.StopPodSandbox(n.ctx(), &cri.StopPodSandboxRequest{PodSandboxId: p.id}); err != nil {
		t.Fatal(err)
	}
	_, err = n.RunPodSandbox(n.ctx(), &cri.RunPodSandboxRequest{Config: p.config})
	n.fails(err, codes.AlreadyExists, p.config.Metadata.Name)
	if _, err := n.RemovePodSandbox(n.ctx(), &cri.RemovePodSandboxRequest{PodSandboxId: p.id}); err != nil {
		t.Fatal(err)
	}
	if id := n.run(p.config); id == p.id {
		t.Error("an id was given twice")
	}
}

// TestIdenticalCallsAtOnce: calls for one name that come while the first is under way have its result, or find the name taken.
func TestIdenticalCallsAtOnce(t *testing.T) {
	n := commonNode(t)
	const callers = 8
	for round := range 5 {
		config := n.sandbox("twins", func(c *cri.PodSandboxConfig) {
			c.Metadata.Attempt = uint32(round)
		})
		pods := atOnce(callers, func() (string, error) {
			r, err := n.RunPodSandbox(n.ctx(), &cri.RunPodSandboxRequest{Config: config})
			return r.GetPodSandboxId(), err
		})
		id := n.oneOf(pods)
		n.pods.add(id)
		p := &testPod{n, id, config}
		containers := atOnce(callers, func() (string, error) { return p.tryCreate(container("app", "echo", "once")) })
		c := n.oneOf(containers)
		starts := atOnce(callers, func() (string, error) { return c, n.tryStart(c) })
		began := false
		for _, s := range starts {
			began = began || s.err == nil
			if s.err != nil {
				n.fails(s.err, codes.FailedPrecondition, "app")
			}
		}
		n.exited(c)
		if out := n.logged(c); !began || out != "once\n" {
			t.Errorf("a container started from %d sides: %v, it says %q", callers, starts, out)
		}
	}
	if r, err := n.ListPodSandbox(n.ctx(), &cri.ListPodSandboxRequest{}); err != nil || len(r.Items) != 5 {
		t.Errorf("%v, %v", r, err)
	}
}

// answer is what a call for an id gave.
type answer struct {
	id  string
	err error
}

// atOnce makes calls as much at the same time as can be.
func atOnce(callers int, call func() (string, error)) []answer {
	answers := make([]answer, callers)
	var ready, done sync.WaitGroup
	ready.Add(callers)
	for i := range answers {
		done.Go(func() {
			ready.Done()
			ready.Wait()
			answers[i].id, answers[i].err = call()
		})
	}
	done.Wait()
	return answers
}

// oneOf gives the id that all calls that succeeded gave; the others found the name taken.
func (n *node) oneOf(answers []answer) string {
	n.t.Helper()
	var ids []string
	for _, a := range answers {
		if a.err == nil {
			ids = append(ids, a.id)
			continue
		}
		n.fails(a.err, codes.AlreadyExists)
	}
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) != 1 {
		n.t.Fatalf("calls for one name made %d things", len(ids))
	}
	return ids[0]
}

// TestRemovalAtOnce: stops and removals of one pod from many sides all succeed.
func TestRemovalAtOnce(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	a, b := p.start(container("a", "sleep", "1000")), p.start(container("b", "sh", "-c", "trap '' TERM; sleep 1000"))
	calls := []func(context.Context) error{
		func(ctx context.Context) error {
			_, err := n.StopContainer(ctx, &cri.StopContainerRequest{ContainerId: b, Timeout: 20})
			return err
		},
		func(ctx context.Context) error {
			_, err := n.RemoveContainer(ctx, &cri.RemoveContainerRequest{ContainerId: a})
			return err
		},
		func(ctx context.Context) error {
			_, err := n.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: p.id})
			return err
		},
		func(ctx context.Context) error {
			_, err := n.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: p.id})
			return err
		},
	}
	var done sync.WaitGroup
	for range 3 {
		for _, call := range calls {
			done.Go(func() {
				if err := call(n.ctx()); err != nil {
					t.Error(err)
				}
			})
		}
	}
	done.Wait()
}
