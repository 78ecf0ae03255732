package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestVerbsAtOnce lets the verbs that end things meet those that begin them. Whoever wins, nothing is left.
func TestVerbsAtOnce(t *testing.T) {
	if !private(t) {
		return
	}
	n := newNode(t)
	mounts := mountTable()
	seed := number(t, seedEnv, uint64(time.Now().UnixNano()))
	t.Logf("%s=%d", seedEnv, seed)
	random := rand.New(rand.NewPCG(seed, 0))
	enders := []struct {
		name string
		call func(ctx context.Context, pod, container string) error
	}{
		{"StopPodSandbox", func(ctx context.Context, pod, _ string) error {
			_, err := n.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: pod})
			return err
		}},
		{"RemovePodSandbox", func(ctx context.Context, pod, _ string) error {
			_, err := n.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: pod})
			return err
		}},
		{"StopContainer", func(ctx context.Context, _, c string) error {
			_, err := n.StopContainer(ctx, &cri.StopContainerRequest{ContainerId: c})
			return err
		}},
		{"RemoveContainer", func(ctx context.Context, _, c string) error {
			_, err := n.RemoveContainer(ctx, &cri.RemoveContainerRequest{ContainerId: c})
			return err
		}},
	}
	for round := range 15 {
		for i, ender := range enders {
			k := kinds[(round+i)%len(kinds)]
			s := n.sandbox(fmt.Sprintf("%s-%d-%d", k.name, round, i), sharing(k.change), observed(k.own))
			pod := n.run(s)
			runs := n.startIn(pod, s, n.like(s, container("runs", "sleep", "1000")))
			r, err := n.CreateContainer(n.ctx(), &cri.CreateContainerRequest{
				PodSandboxId: pod, Config: n.like(s, container("starts", "sleep", "1000")), SandboxConfig: s,
			})
			if err != nil {
				t.Fatal(err)
			}
			pauses := []time.Duration{time.Duration(random.Int64N(int64(8 * time.Millisecond))), time.Duration(random.Int64N(int64(8 * time.Millisecond))), time.Duration(random.Int64N(int64(8 * time.Millisecond)))}
			var all sync.WaitGroup
			all.Go(func() {
				time.Sleep(pauses[0])
				n.StartContainer(n.ctx(), &cri.StartContainerRequest{ContainerId: r.ContainerId})
			})
			all.Go(func() {
				time.Sleep(pauses[0])
				n.ExecSync(n.ctx(), &cri.ExecSyncRequest{ContainerId: runs, Cmd: []string{"sh", "-c", "sleep 0.02 & sleep 1000"}, Timeout: 3})
			})
			for _, wait := range pauses[1:] { // twice at once
				all.Go(func() {
					time.Sleep(wait)
					for _, c := range []string{r.ContainerId, runs} {
						if err := ender.call(n.ctx(), pod, c); err != nil {
							t.Errorf("%s in pod %s: %v", ender.name, s.Metadata.Name, err)
						}
					}
				})
			}
			all.Wait()
			if _, err := n.RemovePodSandbox(n.ctx(), &cri.RemovePodSandboxRequest{PodSandboxId: pod}); err != nil {
				t.Error(err)
			}
		}
	}
	n.agree(mounts)
	n.emptied(mounts)
}

// TestNurseryKilled kills the nursery while pods are made. Pods that were there don't notice, those that are being made come up or fail
// without a trace, and the next ones come up.
func TestNurseryKilled(t *testing.T) {
	if !private(t) {
		return
	}
	n := newNode(t)
	mounts := mountTable()
	random := rand.New(rand.NewPCG(number(t, seedEnv, uint64(time.Now().UnixNano())), 0))
	sandbox := n.sandbox("there", observed(true))
	there := n.startIn(n.run(sandbox), sandbox, container("there", "sleep", "1000"))
	failed := 0
	for round := range 20 {
		var all sync.WaitGroup
		var mu sync.Mutex
		killed := make(chan struct{})
		for i := range 4 {
			k := kinds[(round+i)%len(kinds)]
			s := n.sandbox(fmt.Sprintf("%s-%d-%d", k.name, round, i), sharing(k.change), observed(k.own))
			all.Go(func() {
				_, err := n.RunPodSandbox(n.ctx(), &cri.RunPodSandboxRequest{Config: s})
				if err == nil {
					return
				}
				mu.Lock()
				failed++
				mu.Unlock()
				if code := status.Code(err); code == codes.Internal || code == codes.DeadlineExceeded {
					t.Errorf("RunPodSandbox as the nursery was killed: %v", err)
				}
				<-killed
				// podlet may not have heard of the death yet, which is what Unavailable says.
				for deadline := time.Now().Add(hangTime); ; {
					if _, err = n.RunPodSandbox(n.ctx(), &cri.RunPodSandboxRequest{Config: s}); status.Code(err) != codes.Unavailable || time.Now().After(deadline) {
						break
					}
				}
				if err != nil {
					t.Errorf("RunPodSandbox after the nursery was killed: %v", err)
				}
			})
		}
		time.Sleep(time.Duration(random.Int64N(int64(5 * time.Millisecond))))
		n.killNursery()
		close(killed)
		all.Wait()
	}
	t.Logf("%d of 80 pods failed with the nursery", failed)
	n.agree(mounts)
	if s := n.status(there); s.State != cri.ContainerState_CONTAINER_RUNNING {
		t.Errorf("a container that was there before: %v", s)
	}
	n.emptied(mounts)
}

func (n *node) killNursery() {
	for _, p := range processes() {
		if p.title == "podlet-nursery" && p.parent == n.cmd.Process.Pid {
			unix.Kill(p.pid, unix.SIGKILL)
		}
	}
}
