package cri

import (
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/cgroup"
)

// resources reads LinuxContainerResources; nil gives nil. Values are package cgroup's to judge.
func resources(r *cri.LinuxContainerResources) (*cgroup.Resources, error) {
	if r == nil {
		return nil, nil
	}
	out := &cgroup.Resources{
		CPUPeriod: r.CpuPeriod, CPUQuota: r.CpuQuota, CPUShares: r.CpuShares,
		MemoryLimitBytes: r.MemoryLimitInBytes, MemorySwapLimitBytes: r.MemorySwapLimitInBytes,
		CpusetCPUs: r.CpusetCpus, CpusetMems: r.CpusetMems,
		Unified: r.Unified,
	}
	for _, h := range r.HugepageLimits {
		out.HugepageLimits = append(out.HugepageLimits, cgroup.HugepageLimit{PageSize: h.GetPageSize(), Limit: h.GetLimit()})
	}
	if r.OomScoreAdj < -1000 || r.OomScoreAdj > 1000 {
		return nil, invalid("oom_score_adj %d: want -1000 to 1000", r.OomScoreAdj)
	}
	return out, nil
}

// resourcesOf is the way back, for ContainerStatus.
func resourcesOf(r *cgroup.Resources, oomScoreAdj int) *cri.LinuxContainerResources {
	out := &cri.LinuxContainerResources{
		CpuPeriod: r.CPUPeriod, CpuQuota: r.CPUQuota, CpuShares: r.CPUShares,
		MemoryLimitInBytes: r.MemoryLimitBytes, MemorySwapLimitInBytes: r.MemorySwapLimitBytes,
		CpusetCpus: r.CpusetCPUs, CpusetMems: r.CpusetMems, Unified: r.Unified, OomScoreAdj: int64(oomScoreAdj),
	}
	for _, h := range r.HugepageLimits {
		out.HugepageLimits = append(out.HugepageLimits, &cri.HugepageLimit{PageSize: h.PageSize, Limit: h.Limit})
	}
	return out
}
