package main

import (
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestUpdateRefused: limits that can't be set are refused by a code that says whose fault it is, and by words that say what could be.
func TestUpdateRefused(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	config := container("app", "sleep", "1000")
	limits(&cri.LinuxContainerResources{MemoryLimitInBytes: 128 << 20, MemorySwapLimitInBytes: 128 << 20})(config)
	c := p.start(config)
	// What lies in a tmpfs can't be reclaimed without swap.
	if out, code := n.exec(c, "sh", "-c", "head -c 50331648 /dev/zero >/dev/shm/full"); code != 0 {
		t.Fatal(out)
	}
	for _, u := range []struct {
		r    *cri.LinuxContainerResources
		code codes.Code
		says []string
	}{
		{&cri.LinuxContainerResources{MemoryLimitInBytes: 16 << 20, MemorySwapLimitInBytes: 16 << 20}, codes.FailedPrecondition,
			[]string{"memory", fmt.Sprintf("%d bytes were asked for", 16<<20), "in use", "ask for more"}},
		{&cri.LinuxContainerResources{CpusetCpus: "0-4000"}, codes.InvalidArgument, []string{"cpuset.cpus", "0-4000", `this machine offers only "0`}},
		{&cri.LinuxContainerResources{CpusetMems: "0-60"}, codes.InvalidArgument, []string{"cpuset.mems", "0-60", `this machine offers only "0`}},
	} {
		_, err := n.UpdateContainerResources(n.ctx(), &cri.UpdateContainerResourcesRequest{ContainerId: c, Linux: u.r})
		n.fails(err, u.code, u.says...)
	}
	if now := n.status(c).Resources.GetLinux(); now.GetMemoryLimitInBytes() != 128<<20 || now.GetCpusetCpus() == "0-4000" {
		t.Errorf("the status shows what was refused: %v", now)
	}
	if out, code := n.exec(c, "wc", "-c", "/dev/shm/full"); code != 0 {
		t.Errorf("the container after that: %q", out)
	}
}
