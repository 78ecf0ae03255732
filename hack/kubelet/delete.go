package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// gone is nil when the kubelet doesn't know the pod and podlet has nothing of it that lives.
func (s *site) gone(ctx context.Context, name string) func() error {
	return func() error {
		pods, err := s.kubelet.pods(ctx)
		if err != nil {
			return err
		}
		if pods[name] != nil {
			return fmt.Errorf("the kubelet still knows pod %s", name)
		}
		labels := map[string]string{"io.kubernetes.pod.name": name + "-" + nodeName}
		sandboxes, err := s.node.Runtime.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{Filter: &cri.PodSandboxFilter{LabelSelector: labels}})
		if err != nil {
			return err
		}
		for _, sandbox := range sandboxes.Items {
			if sandbox.State == cri.PodSandboxState_SANDBOX_READY {
				return fmt.Errorf("sandbox %s of pod %s is ready", sandbox.Id, name)
			}
		}
		containers, err := s.node.Runtime.ListContainers(ctx, &cri.ListContainersRequest{Filter: &cri.ContainerFilter{LabelSelector: labels}})
		if err != nil {
			return err
		}
		for _, c := range containers.Containers {
			if c.State != cri.ContainerState_CONTAINER_EXITED {
				return fmt.Errorf("container %s of pod %s: %s", c.Metadata.Name, name, c.State)
			}
		}
		return nil
	}
}

// deleted: the pods end in order when their manifests go.
func (s *site) deleted(ctx context.Context, p *page) error {
	for _, name := range []string{"web", "crash"} {
		if err := s.removePod(name); err != nil {
			return err
		}
	}
	s.holds(ctx, p, "the manifests are removed: pod web ends", s.gone(ctx, "web"))
	order := s.noteLines("order")
	p.check(slices.Equal(order, []string{"init", "sidecar", "app", "preStop", "app ended", "sidecar ended"}),
		"the app's preStop hook ran, then app and sidecar ended by themselves on SIGTERM, the sidecar last: %s", strings.Join(order, ", "))
	s.holds(ctx, p, "pod crash ends", s.gone(ctx, "crash"))
	s.holds(ctx, p, "the kubelet has unmounted the pods' volumes", func() error {
		mounts, err := mountsBelow(s.root())
		if err == nil && len(mounts) > 0 {
			err = fmt.Errorf("mounted: %v", mounts)
		}
		return err
	})
	s.holds(ctx, p, "and removed their cgroups: podlet left none in them", func() error {
		cgroups, err := podCgroups(s.cgroup)
		if err == nil && len(cgroups) > 0 {
			err = fmt.Errorf("cgroups: %v", cgroups)
		}
		return err
	})
	return nil
}
