package main

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// hurried makes a call with a deadline, and says whether the deadline ended it. Any other error is fatal.
func hurried(t *testing.T, what string, deadline time.Duration, call func(context.Context) error) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	err := call(ctx)
	if err == nil {
		return false
	}
	if status.Code(err) != codes.DeadlineExceeded {
		t.Fatalf("%s with a deadline of %v: %v", what, deadline, err)
	}
	return true
}

// points are deadlines from the beginning of a call to well past its end, which took as long as was measured.
func points(usual time.Duration) []time.Duration {
	var list []time.Duration
	const count = 24
	for i := range count {
		list = append(list, usual*time.Duration(i+1)*3/(2*count))
	}
	return list
}

// usual is how long a call takes, the middle one of some.
func usual(call func()) time.Duration {
	var took []time.Duration
	for range 5 {
		began := time.Now()
		call()
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// TestDeadlines lets the client's deadline pass at many points of a creation. The same call succeeds afterwards at the first try, unless the first
// one did too, and its answer alone came too late. Nothing is left behind.
func TestDeadlines(t *testing.T) {
	if !private(t) {
		return
	}
	n := newNode(t)
	mounts := mountTable()
	run := func(s *cri.PodSandboxConfig) (id string, call func(context.Context) error) {
		return "", func(ctx context.Context) error {
			_, err := n.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: s})
			return err
		}
	}
	for _, k := range kinds {
		number := 0
		config := func() *cri.PodSandboxConfig {
			number++
			return n.sandbox(fmt.Sprintf("%s-%d", k.name, number), sharing(k.change), observed(k.own))
		}
		took := usual(func() { n.run(config()) })
		hurry, late := 0, 0
		for _, deadline := range points(took) {
			s := config()
			_, call := run(s)
			if !hurried(t, "RunPodSandbox", deadline, call) {
				continue
			}
			hurry++
			err := call(n.ctx())
			if status.Code(err) == codes.AlreadyExists && n.readyNamed(s.Metadata.Name) {
				late++
				continue
			}
			if err != nil {
				t.Errorf("RunPodSandbox of %s after one that was given up after %v: %v", s.Metadata.Name, deadline, err)
			}
		}
		t.Logf("RunPodSandbox, %s, %v: %d deadlines passed, of %d the answer was on its way", k.name, took, hurry, late)
		if hurry < 3 || late > hurry/2 {
			t.Errorf("RunPodSandbox, %s: %d deadlines passed, %d too late", k.name, hurry, late)
		}
		n.agree(mounts)
	}
	n.emptied(mounts)
	n.hurriedContainers(mounts)
}

func (n *node) readyNamed(name string) bool {
	for _, p := range n.lists().pods {
		if p.Metadata.Name == name {
			return p.State == cri.PodSandboxState_SANDBOX_READY
		}
	}
	return false
}

// hurriedContainers is TestDeadlines for CreateContainer and StartContainer.
func (n *node) hurriedContainers(mounts map[string]bool) {
	n.t.Helper()
	sandbox := n.sandbox("containers", observed(true))
	pod := n.run(sandbox)
	number := 0
	config := func() *cri.ContainerConfig {
		number++
		return container(fmt.Sprint("c", number), "sleep", "1000")
	}
	create := func(c *cri.ContainerConfig, id *string) func(context.Context) error {
		return func(ctx context.Context) error {
			r, err := n.CreateContainer(ctx, &cri.CreateContainerRequest{PodSandboxId: pod, Config: c, SandboxConfig: sandbox})
			*id = r.GetContainerId()
			return err
		}
	}
	start := func(id string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := n.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: id})
			return err
		}
	}
	var id string
	var created []string
	took := usual(func() {
		if err := create(config(), &id)(n.ctx()); err != nil {
			n.t.Fatal(err)
		}
		created = append(created, id)
	})
	hurry, late := 0, 0
	for _, deadline := range points(took) {
		c := config()
		if !hurried(n.t, "CreateContainer", deadline, create(c, &id)) {
			continue
		}
		hurry++
		err := create(c, &id)(n.ctx())
		if status.Code(err) == codes.AlreadyExists && n.createdNamed(c.Metadata.Name) {
			late++
		} else if err != nil {
			n.t.Errorf("CreateContainer after one that was given up after %v: %v", deadline, err)
		}
	}
	n.t.Logf("CreateContainer, %v: %d deadlines passed, of %d the answer was on its way", took, hurry, late)

	took = usual(func() {
		if err := start(created[0])(n.ctx()); err != nil {
			n.t.Fatal(err)
		}
		created = created[1:]
	})
	hurry, late = 0, 0
	for _, deadline := range points(took) {
		if err := create(config(), &id)(n.ctx()); err != nil {
			n.t.Fatal(err)
		}
		if !hurried(n.t, "StartContainer", deadline, start(id)) {
			continue
		}
		hurry++
		err := start(id)(n.ctx())
		if status.Code(err) == codes.FailedPrecondition && n.status(id).State == cri.ContainerState_CONTAINER_RUNNING {
			late++
		} else if err != nil {
			n.t.Errorf("StartContainer after one that was given up after %v: %v", deadline, err)
		}
		if out, code := n.exec(id, "echo", "runs"); out != "runs\n" || code != 0 {
			n.t.Errorf("exec in a container that was started twice: %q, %d", out, code)
		}
	}
	n.t.Logf("StartContainer, %v: %d deadlines passed, of %d the answer was on its way", took, hurry, late)
	if hurry < 3 || late > hurry/2 {
		n.t.Errorf("StartContainer: %d deadlines passed, %d too late", hurry, late)
	}
	n.agree(mounts)
	n.emptied(mounts)
}

func (n *node) createdNamed(name string) bool {
	for _, c := range n.lists().containers {
		if c.Metadata.Name == name {
			return c.State == cri.ContainerState_CONTAINER_CREATED
		}
	}
	return false
}
