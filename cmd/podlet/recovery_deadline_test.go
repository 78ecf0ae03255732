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

// sweep gives a call deadlines, from its beginning to well past its end.
type sweep struct {
	// usual is how long the call takes, as far as is known: the machine has more to do at one time than at another.
	usual time.Duration
	// undone are the calls that were given up, and of which nothing was to be seen; of late ones the answer was on its way.
	undone, late int
}

// leastUndone calls have to be given up in their middle, or nothing is tested.
const leastUndone = 3

// deadlines gives as many as it takes.
func (s *sweep) deadlines(yield func(time.Duration) bool) {
	const points, most = 24, 72
	for i := 0; i < points || s.undone < leastUndone && i < most; i++ {
		if !yield(s.usual * time.Duration(i%points+1) * 3 / (2 * points)) {
			return
		}
	}
}

// hurried makes a call with a deadline, and says whether the deadline ended it. Any other error is fatal.
func (s *sweep) hurried(t *testing.T, what string, deadline time.Duration, call func(context.Context) error) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	began := time.Now()
	err := call(ctx)
	if err == nil {
		s.usual = time.Since(began)
		return false
	}
	if status.Code(err) != codes.DeadlineExceeded {
		t.Fatalf("%s with a deadline of %v: %v", what, deadline, err)
	}
	return true
}

func (s *sweep) String() string {
	return fmt.Sprintf("%v: %d were given up, of %d more the answer was on its way", s.usual, s.undone, s.late)
}

func (s *sweep) check(t *testing.T, what string) {
	t.Helper()
	t.Logf("%s, %v", what, s)
	if s.undone < leastUndone {
		t.Errorf("%s: %d were given up, %d too late", what, s.undone, s.late)
	}
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
	run := func(s *cri.PodSandboxConfig) func(context.Context) error {
		return func(ctx context.Context) error {
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
		runs := &sweep{usual: usual(func() { n.run(config()) })}
		for deadline := range runs.deadlines {
			s := config()
			call := run(s)
			if !runs.hurried(t, "RunPodSandbox", deadline, call) {
				continue
			}
			err := call(n.ctx())
			if status.Code(err) == codes.AlreadyExists && n.readyNamed(s.Metadata.Name) {
				runs.late++
				continue
			}
			runs.undone++
			if err != nil {
				t.Errorf("RunPodSandbox of %s after one that was given up after %v: %v", s.Metadata.Name, deadline, err)
			}
		}
		runs.check(t, "RunPodSandbox, "+k.name)
		n.agree(mounts)
		n.emptied(mounts)
	}
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
	creates := &sweep{usual: usual(func() {
		if err := create(config(), &id)(n.ctx()); err != nil {
			n.t.Fatal(err)
		}
		created = append(created, id)
	})}
	for deadline := range creates.deadlines {
		c := config()
		if !creates.hurried(n.t, "CreateContainer", deadline, create(c, &id)) {
			continue
		}
		err := create(c, &id)(n.ctx())
		if status.Code(err) == codes.AlreadyExists && n.createdNamed(c.Metadata.Name) {
			creates.late++
			continue
		}
		creates.undone++
		if err != nil {
			n.t.Errorf("CreateContainer after one that was given up after %v: %v", deadline, err)
		}
	}
	// It may be too quick for that.
	n.t.Logf("CreateContainer, %v", creates)

	starts := &sweep{usual: usual(func() {
		if err := start(created[0])(n.ctx()); err != nil {
			n.t.Fatal(err)
		}
		created = created[1:]
	})}
	for deadline := range starts.deadlines {
		if err := create(config(), &id)(n.ctx()); err != nil {
			n.t.Fatal(err)
		}
		if !starts.hurried(n.t, "StartContainer", deadline, start(id)) {
			continue
		}
		err := start(id)(n.ctx())
		if status.Code(err) == codes.FailedPrecondition && n.status(id).State == cri.ContainerState_CONTAINER_RUNNING {
			starts.late++
		} else {
			starts.undone++
			if err != nil {
				n.t.Errorf("StartContainer after one that was given up after %v: %v", deadline, err)
			}
		}
		if out, code := n.exec(id, "echo", "runs"); out != "runs\n" || code != 0 {
			n.t.Errorf("exec in a container that was started twice: %q, %d", out, code)
		}
	}
	starts.check(n.t, "StartContainer")
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
