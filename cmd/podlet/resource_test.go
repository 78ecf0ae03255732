package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// cgroupFile reads a file of a container's cgroup: its v2 name on a pure v2 machine, else the one of v1.
func (n *node) cgroupFile(container, v2, v1controller, v1 string) string {
	n.t.Helper()
	path := filepath.Join("/sys/fs/cgroup", n.cgroup, container, v2)
	if !pureV2() {
		path = filepath.Join("/sys/fs/cgroup", v1controller, n.cgroup, container, v1)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		n.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

func pureV2() bool {
	_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	return err == nil
}

// TestLimits: the limits of a config are in force in the kernel and shown in the container's status.
func TestLimits(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	want := &cri.LinuxContainerResources{
		CpuPeriod: 50_000, CpuQuota: 25_000, CpuShares: 512, MemoryLimitInBytes: 32 << 20, CpusetCpus: "0", CpusetMems: "0", OomScoreAdj: 500,
	}
	config := container("app", "sleep", "1000")
	limits(want)(config)
	c := p.start(config)
	if got := n.cgroupFile(c, "memory.max", "memory", "memory.limit_in_bytes"); got != fmt.Sprint(32<<20) {
		t.Errorf("memory limit %s", got)
	}
	if got := n.cgroupFile(c, "cpuset.cpus", "cpuset", "cpuset.cpus"); got != "0" {
		t.Errorf("cpuset %s", got)
	}
	if pureV2() {
		if got := n.cgroupFile(c, "cpu.max", "", ""); got != "25000 50000" {
			t.Errorf("cpu.max %s", got)
		}
	} else {
		if got := n.cgroupFile(c, "", "cpu", "cpu.cfs_quota_us") + " " + n.cgroupFile(c, "", "cpu", "cpu.cfs_period_us"); got != "25000 50000" {
			t.Errorf("quota and period %s", got)
		}
		if got := n.cgroupFile(c, "", "cpu", "cpu.shares"); got != "512" {
			t.Errorf("cpu.shares %s", got)
		}
	}
	if got := n.status(c).Resources.GetLinux(); got.CpuPeriod != want.CpuPeriod || got.CpuQuota != want.CpuQuota || got.CpuShares != want.CpuShares ||
		got.MemoryLimitInBytes != want.MemoryLimitInBytes || got.CpusetCpus != want.CpusetCpus || got.OomScoreAdj != want.OomScoreAdj {
		t.Errorf("status %v", got)
	}
	// Before its first instruction, and for what is exec'd as well.
	if f := p.look("probe", limits(want)); f.CPUs != 1 || f.OOMScoreAdj != "500" {
		t.Errorf("%d CPUs, oom_score_adj %s", f.CPUs, f.OOMScoreAdj)
	}
	if out, _ := n.exec(c, "grep", "Cpus_allowed_list", "/proc/self/status"); strings.TrimSpace(out) != "Cpus_allowed_list:\t0" {
		t.Errorf("an exec runs on %s", out)
	}
}

// TestUnifiedLimits are written on a pure v2 machine, and refused where nobody would heed them.
func TestUnifiedLimits(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	config := container("app", "sleep", "1000")
	limits(&cri.LinuxContainerResources{Unified: map[string]string{"memory.high": fmt.Sprint(16 << 20)}})(config)
	id, err := p.tryCreate(config)
	if !pureV2() {
		n.fails(err, codes.FailedPrecondition, "memory.high")
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := n.tryStart(id); err != nil {
		t.Fatal(err)
	}
	if got := n.cgroupFile(id, "memory.high", "", ""); got != fmt.Sprint(16<<20) {
		t.Errorf("memory.high %s", got)
	}
}

// TestHugepageLimits are in force where the kernel has pages of that size and counts them; elsewhere the container is refused.
func TestHugepageLimits(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	sizes, err := filepath.Glob("/sys/kernel/mm/hugepages/hugepages-2048kB")
	if err != nil {
		t.Fatal(err)
	}
	config := container("app", "sleep", "1000")
	limits(&cri.LinuxContainerResources{HugepageLimits: []*cri.HugepageLimit{{PageSize: "2MB", Limit: 4 << 20}}})(config)
	id, err := p.tryCreate(config)
	if len(sizes) == 0 {
		n.fails(err, codes.FailedPrecondition, "2MB")
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := n.tryStart(id); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, path := range []string{
		filepath.Join("/sys/fs/cgroup", n.cgroup, id, "hugetlb.2MB.max"),
		filepath.Join("/sys/fs/cgroup/unified", n.cgroup, id, "hugetlb.2MB.max"),
		filepath.Join("/sys/fs/cgroup/hugetlb", n.cgroup, id, "hugetlb.2MB.limit_in_bytes"),
	} {
		if text, err := os.ReadFile(path); err == nil {
			found = true
			if got := strings.TrimSpace(string(text)); got != fmt.Sprint(4<<20) {
				t.Errorf("%s is %s", path, got)
			}
		}
	}
	if !found {
		t.Error("no file with the limit")
	}
}

// TestCgroupParents: the cgroups above a container's are made for it, and what podlet made goes with the last container below; a parent that
// was there stays.
func TestCgroupParents(t *testing.T) {
	n := commonNode(t)
	tree := "/sys/fs/cgroup/memory"
	if pureV2() {
		tree = "/sys/fs/cgroup"
	}
	own := filepath.Join(tree, n.cgroup+"-own")
	if err := os.Mkdir(own, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(own); err != nil {
			t.Error(err)
		}
	})
	p := n.newPod(linux(func(l *cri.LinuxPodSandboxConfig) { l.CgroupParent = "/" + n.cgroup + "-own/burstable/pod1" }))
	c := p.start(container("app", "sleep", "1000"))
	pid := n.seenContainer(c).PID
	if procs, err := os.ReadFile(filepath.Join(own, "burstable/pod1", c, "cgroup.procs")); err != nil || !bytes.Contains(procs, fmt.Appendln(nil, pid)) {
		t.Errorf("processes %s, %v, want %d", procs, err, pid)
	}
	n.removePods()
	n.soon("what podlet made is gone", func() bool {
		_, err := os.Stat(filepath.Join(own, "burstable"))
		return os.IsNotExist(err)
	})
	if _, err := os.Stat(own); err != nil {
		t.Errorf("a parent that was there: %v", err)
	}
}
