package main

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestStatsOfStopped: ContainerStats of a container that exists is no error. What doesn't run is in no list.
func TestStatsOfStopped(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	created := p.create(container("created", "true"))
	ended := p.start(container("ended", "sh", "-c", "dd if=/dev/zero of=/file bs=1M count=2"))
	n.exited(ended)
	runs := p.start(container("runs", "sleep", "1000"))
	if got := n.listedStats(&cri.ContainerStatsFilter{PodSandboxId: p.id}); !slices.Equal(got, []string{runs}) {
		t.Errorf("listed are %q, %s runs", got, runs)
	}
	for _, c := range []string{created, ended} {
		s := n.containerStats(c)
		if s.Attributes.GetId() != c || s.Attributes.Metadata.GetName() == "" || s.Cpu != nil || s.Memory != nil || s.Swap != nil || s.Io != nil {
			t.Errorf("stats of a container that doesn't run: %v", s)
		}
	}
	n.soon("the layer of what has ended is counted", func() bool { return n.containerStats(ended).WritableLayer.GetUsedBytes().GetValue() >= 2<<20 })
	n.soon("the last count is as of now", func() bool {
		asked := time.Now().UnixNano()
		return n.containerStats(ended).WritableLayer.GetTimestamp() >= asked
	})
	if _, err := n.RemoveContainer(n.ctx(), &cri.RemoveContainerRequest{ContainerId: ended}); err != nil {
		t.Fatal(err)
	}
	_, err := n.ContainerStats(n.ctx(), &cri.ContainerStatsRequest{ContainerId: ended})
	n.fails(err, codes.NotFound, ended)
	_, err = n.PodSandboxStats(n.ctx(), &cri.PodSandboxStatsRequest{PodSandboxId: "none"})
	n.fails(err, codes.NotFound, "none")
}
