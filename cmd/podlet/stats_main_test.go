package main

import (
	"errors"
	"io"
	"slices"

	"google.golang.org/grpc"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func (n *node) containerStats(container string) *cri.ContainerStats {
	n.t.Helper()
	r, err := n.ContainerStats(n.ctx(), &cri.ContainerStatsRequest{ContainerId: container})
	if err != nil {
		n.t.Fatalf("ContainerStats: %v", err)
	}
	return r.Stats
}

func (n *node) podStats(pod string) *cri.PodSandboxStats {
	n.t.Helper()
	r, err := n.PodSandboxStats(n.ctx(), &cri.PodSandboxStatsRequest{PodSandboxId: pod})
	if err != nil {
		n.t.Fatalf("PodSandboxStats: %v", err)
	}
	return r.Stats
}

// listedStats are the containers that a filter lets through, by ListContainerStats and by its stream, which must agree.
func (n *node) listedStats(f *cri.ContainerStatsFilter) []string {
	n.t.Helper()
	r, err := n.ListContainerStats(n.ctx(), &cri.ListContainerStatsRequest{Filter: f})
	if err != nil {
		n.t.Fatalf("ListContainerStats: %v", err)
	}
	stream, err := n.StreamContainerStats(n.ctx(), &cri.StreamContainerStatsRequest{Filter: f})
	streamed := collect(n, stream, err, func(r *cri.StreamContainerStatsResponse) (ids []string) {
		for _, s := range r.ContainerStats {
			ids = append(ids, s.Attributes.Id)
		}
		return ids
	})
	var ids []string
	for _, s := range r.Stats {
		ids = append(ids, s.Attributes.Id)
	}
	return n.same(ids, streamed)
}

// listedPodStats is listedStats for pods.
func (n *node) listedPodStats(f *cri.PodSandboxStatsFilter) []string {
	n.t.Helper()
	r, err := n.ListPodSandboxStats(n.ctx(), &cri.ListPodSandboxStatsRequest{Filter: f})
	if err != nil {
		n.t.Fatalf("ListPodSandboxStats: %v", err)
	}
	stream, err := n.StreamPodSandboxStats(n.ctx(), &cri.StreamPodSandboxStatsRequest{Filter: f})
	streamed := collect(n, stream, err, func(r *cri.StreamPodSandboxStatsResponse) (ids []string) {
		for _, s := range r.PodSandboxStats {
			ids = append(ids, s.Attributes.Id)
		}
		return ids
	})
	var ids []string
	for _, s := range r.Stats {
		ids = append(ids, s.Attributes.Id)
	}
	return n.same(ids, streamed)
}

func collect[T any](n *node, stream grpc.ServerStreamingClient[T], err error, ids func(*T) []string) (all []string) {
	n.t.Helper()
	for err == nil {
		var part *T
		if part, err = stream.Recv(); err == nil {
			if len(ids(part)) == 0 {
				n.t.Error("a stream with an empty part")
			}
			all = append(all, ids(part)...)
		}
	}
	if !errors.Is(err, io.EOF) {
		n.t.Fatalf("stream: %v", err)
	}
	return all
}

func (n *node) same(listed, streamed []string) []string {
	n.t.Helper()
	slices.Sort(listed)
	slices.Sort(streamed)
	if !slices.Equal(listed, streamed) {
		n.t.Errorf("the list has %q, the stream %q", listed, streamed)
	}
	return listed
}

// inOwnCgroup gives the pod a cgroup parent of its own, as kubelets do.
func (n *node) inOwnCgroup(name string) func(*cri.PodSandboxConfig) {
	return func(c *cri.PodSandboxConfig) { c.Linux.CgroupParent = "/" + n.cgroup + "/" + name }
}
