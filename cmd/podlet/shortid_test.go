package main

import (
	"testing"

	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestShortIDs: every verb takes an id as crictl prints it, thirteen digits; a stop that finds nothing would be a success.
func TestShortIDs(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	pod := p.id[:13]
	r, err := n.CreateContainer(n.ctx(), &cri.CreateContainerRequest{PodSandboxId: pod, Config: container("app", "sleep", "1000"), SandboxConfig: p.config})
	if err != nil {
		t.Fatal(err)
	}
	whole, app := r.ContainerId, r.ContainerId[:13]
	if _, err := (&testPod{n, pod, p.config}).tryCreate(container("app", "true")); err == nil {
		t.Error("the name was given twice")
	}
	if err := n.tryStart(app); err != nil {
		t.Fatal(err)
	}
	if s := n.status(app); s.Id != whole || s.State != cri.ContainerState_CONTAINER_RUNNING {
		t.Errorf("%v", s)
	}
	if out, code := n.exec(app, "echo", "hello"); out != "hello\n" || code != 0 {
		t.Errorf("%d %q", code, out)
	}
	_, err = n.UpdateContainerResources(n.ctx(), &cri.UpdateContainerResourcesRequest{ContainerId: app, Linux: &cri.LinuxContainerResources{MemoryLimitInBytes: 64 << 20}})
	n.fails(err, codes.OK)
	_, err = n.ReopenContainerLog(n.ctx(), &cri.ReopenContainerLogRequest{ContainerId: app})
	n.fails(err, codes.OK)
	if s, err := n.ContainerStats(n.ctx(), &cri.ContainerStatsRequest{ContainerId: app}); err != nil || s.Stats.Attributes.Id != whole {
		t.Errorf("%v, %v", s, err)
	}
	if s, err := n.PodSandboxStats(n.ctx(), &cri.PodSandboxStatsRequest{PodSandboxId: pod}); err != nil || s.Stats.Attributes.Id != p.id {
		t.Errorf("%v, %v", s, err)
	}
	n.stop(app, 0)
	if s := n.status(app); s.State != cri.ContainerState_CONTAINER_EXITED {
		t.Errorf("after its stop: %v", s)
	}
	if _, err := n.RemoveContainer(n.ctx(), &cri.RemoveContainerRequest{ContainerId: app}); err != nil {
		t.Error(err)
	}
	_, err = n.ContainerStatus(n.ctx(), &cri.ContainerStatusRequest{ContainerId: whole})
	n.fails(err, codes.NotFound)
	if _, err := n.StopPodSandbox(n.ctx(), &cri.StopPodSandboxRequest{PodSandboxId: pod}); err != nil {
		t.Error(err)
	}
	if s, err := n.PodSandboxStatus(n.ctx(), &cri.PodSandboxStatusRequest{PodSandboxId: pod}); err != nil || s.Status.Id != p.id || s.Status.State != cri.PodSandboxState_SANDBOX_NOTREADY {
		t.Errorf("%v, %v", s, err)
	}
	if _, err := n.RemovePodSandbox(n.ctx(), &cri.RemovePodSandboxRequest{PodSandboxId: pod}); err != nil {
		t.Error(err)
	}
	_, err = n.PodSandboxStatus(n.ctx(), &cri.PodSandboxStatusRequest{PodSandboxId: p.id})
	n.fails(err, codes.NotFound)
}
