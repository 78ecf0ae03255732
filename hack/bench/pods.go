package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/hack/node"
	"podlet/hack/testimages/testimage"
)

// warmUp is how many rounds go before the measured ones.
const warmUp = 5

// bench is what one measurement has: a podlet and, for rows with a floor, the floor.
type bench struct {
	node   *node.Node
	parent *parent
	pods   atomic.Int64 // made so far, for their names
	undo   []func() error
}

func (b *bench) close(err *error) {
	for i := len(b.undo) - 1; i >= 0; i-- {
		*err = errors.Join(*err, b.undo[i]())
	}
}

// start makes a podlet with the image in it.
func (b *bench) start(ctx context.Context, o options, wrap ...string) error {
	return b.startWith(ctx, o, "busybox", wrap...)
}

// startWith makes a podlet with that one of the test images in it.
func (b *bench) startWith(ctx context.Context, o options, image string, wrap ...string) error {
	layout, err := testimage.Layout(image)
	if err != nil {
		return err
	}
	if b.parent, err = makeParent(ctx); err != nil {
		return err
	}
	b.undo = append(b.undo, b.parent.close)
	if b.node, err = node.Start(ctx, node.Options{Podlet: o.podlet, Images: []string{layout}, Wrap: wrap, Bridge: o.bridge, Flags: o.flags}); err != nil {
		return err
	}
	b.undo = append(b.undo, b.node.Close)
	return nil
}

// startFloor starts the floor beside podlet.
func (b *bench) startFloor(ctx context.Context, o options, wrap ...string) (*floorProcess, error) {
	layout, err := testimage.Layout("busybox")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "podlet-floor-")
	if err != nil {
		return nil, err
	}
	b.undo = append(b.undo, func() error { return errors.Join(removeFloorPods(dir, b.parent.Path), os.RemoveAll(dir)) })
	lower, err := layers(ctx, layout, dir)
	if err != nil {
		return nil, err
	}
	f, err := startFloor(o.floor, lower, dir, b.parent.Path, wrap...)
	if err != nil {
		return nil, err
	}
	b.undo = append(b.undo, f.close)
	return f, nil
}

// podConfig is what a kubelet sends for a pod without an own IP, or with one where netns is set.
func (b *bench) podConfig(netns bool) *cri.PodSandboxConfig {
	number := b.pods.Add(1)
	network := cri.NamespaceMode_NODE
	if netns {
		network = cri.NamespaceMode_POD
	}
	return &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Name: fmt.Sprintf("bench-%d", number), Namespace: "bench", Uid: fmt.Sprintf("bench-uid-%d", number)},
		Hostname:     "bench",
		LogDirectory: b.node.LogDir(),
		DnsConfig:    &cri.DNSConfig{Servers: []string{"127.0.0.1"}},
		Linux: &cri.LinuxPodSandboxConfig{
			CgroupParent: b.parent.Path,
			SecurityContext: &cri.LinuxSandboxSecurityContext{
				NamespaceOptions: &cri.NamespaceOption{Network: network, Pid: cri.NamespaceMode_CONTAINER, Ipc: cri.NamespaceMode_POD},
			},
		},
	}
}

func (b *bench) containerConfig(pod *cri.PodSandboxConfig) *cri.ContainerConfig {
	return &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: "app"},
		Image:    &cri.ImageSpec{Image: testimage.BusyboxName},
		Command:  []string{"/bin/sleep", "1000000"},
		LogPath:  pod.Metadata.Name + ".log",
		Linux: &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{
			NamespaceOptions: pod.Linux.SecurityContext.NamespaceOptions,
		}},
	}
}

// pod is one that is up.
type pod struct{ id, container string }

// up makes a pod and starts its container.
func (b *bench) up(ctx context.Context, netns bool) (pod, time.Duration, error) {
	config := b.podConfig(netns)
	container := b.containerConfig(config)
	began := time.Now()
	sandbox, err := b.node.Runtime.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: config})
	if err != nil {
		return pod{}, 0, fmt.Errorf("RunPodSandbox: %w", err)
	}
	created, err := b.node.Runtime.CreateContainer(ctx, &cri.CreateContainerRequest{
		PodSandboxId: sandbox.PodSandboxId, Config: container, SandboxConfig: config,
	})
	if err != nil {
		return pod{}, 0, fmt.Errorf("CreateContainer: %w", err)
	}
	if _, err := b.node.Runtime.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: created.ContainerId}); err != nil {
		return pod{}, 0, fmt.Errorf("StartContainer: %w", err)
	}
	return pod{sandbox.PodSandboxId, created.ContainerId}, time.Since(began), nil
}

// exec runs true in the pod's container.
func (b *bench) exec(ctx context.Context, p pod) (time.Duration, error) {
	began := time.Now()
	answer, err := b.node.Runtime.ExecSync(ctx, &cri.ExecSyncRequest{ContainerId: p.container, Cmd: []string{"/bin/true"}, Timeout: 10})
	if err != nil {
		return 0, fmt.Errorf("ExecSync: %w", err)
	}
	if answer.ExitCode != 0 {
		return 0, fmt.Errorf("ExecSync of true: exit code %d, %s", answer.ExitCode, answer.Stderr)
	}
	return time.Since(began), nil
}

// down stops and removes the pod.
func (b *bench) down(ctx context.Context, p pod) (time.Duration, error) {
	began := time.Now()
	if _, err := b.node.Runtime.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: p.id}); err != nil {
		return 0, fmt.Errorf("StopPodSandbox: %w", err)
	}
	if _, err := b.node.Runtime.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: p.id}); err != nil {
		return 0, fmt.Errorf("RemovePodSandbox: %w", err)
	}
	return time.Since(began), nil
}

// round is one life of a pod.
type round struct{ up, exec, down time.Duration }

func (b *bench) round(ctx context.Context, netns bool) (r round, err error) {
	var p pod
	if p, r.up, err = b.up(ctx, netns); err != nil {
		return r, err
	}
	if r.exec, err = b.exec(ctx, p); err != nil {
		return r, err
	}
	r.down, err = b.down(ctx, p)
	return r, err
}

// Words of the floor's for a pod's coming up.
const (
	floorHostnet = "up-hostnet"
	floorNetns   = "up-netns"
	floorBridge  = "up-bridge"
)

func (f *floorProcess) round(up string) (r round, err error) {
	for _, step := range []struct {
		word string
		took *time.Duration
	}{{up, &r.up}, {"exec", &r.exec}, {"down", &r.down}} {
		if *step.took, err = f.do(step.word); err != nil {
			return r, err
		}
	}
	return r, nil
}

// rounds has podlet and the floor take turns; up is the floor's word for what podlet's pods are.
func rounds(ctx context.Context, o options, up string) (podlet, floor []round, err error) {
	var b bench
	defer b.close(&err)
	if err := b.start(ctx, o); err != nil {
		return nil, nil, err
	}
	f, err := b.startFloor(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	if up == floorBridge {
		if _, err := f.do("bridge"); err != nil {
			return nil, nil, err
		}
	}
	for i := range warmUp + o.n {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		theirs, err := f.round(up)
		if err != nil {
			return nil, nil, err
		}
		ours, err := b.round(ctx, up != floorHostnet)
		if err != nil {
			return nil, nil, fmt.Errorf("%w\n%s", err, b.node.LogTail())
		}
		if i >= warmUp {
			podlet, floor = append(podlet, ours), append(floor, theirs)
		}
	}
	return podlet, floor, nil
}

func hostnetRows(ctx context.Context, o options) ([]row, error) {
	podlet, floor, err := rounds(ctx, o, floorHostnet)
	if err != nil {
		return nil, err
	}
	line := func(name string, of func(round) time.Duration) row {
		return timesRow(name, each(podlet, of), each(floor, of))
	}
	return []row{
		line(rowUpHostnet, func(r round) time.Duration { return r.up }),
		line(rowExec, func(r round) time.Duration { return r.exec }),
		line(rowDown, func(r round) time.Duration { return r.down }),
	}, nil
}

func netnsRows(ctx context.Context, o options) ([]row, error) {
	podlet, floor, err := rounds(ctx, o, floorNetns)
	if err != nil {
		return nil, err
	}
	up := func(r round) time.Duration { return r.up }
	return []row{timesRow(rowUpNetns, each(podlet, up), each(floor, up))}, nil
}

func each(rounds []round, of func(round) time.Duration) []time.Duration {
	var times []time.Duration
	for _, r := range rounds {
		times = append(times, of(r))
	}
	return times
}
