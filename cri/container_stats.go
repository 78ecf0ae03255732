package cri

import (
	"context"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/cgroup"
	"podlet/pod"
)

// ContainerStats tells what one running container uses.
func (s *Server) ContainerStats(ctx context.Context, r *cri.ContainerStatsRequest) (*cri.ContainerStatsResponse, error) {
	st, err := s.Pods.ContainerStats(ctx, r.GetContainerId())
	if err != nil {
		return nil, err
	}
	return &cri.ContainerStatsResponse{Stats: containerStats(st)}, nil
}

// ListContainerStats tells what the running containers that a filter lets through use.
func (s *Server) ListContainerStats(ctx context.Context, r *cri.ListContainerStatsRequest) (*cri.ListContainerStatsResponse, error) {
	f := r.GetFilter()
	list, err := s.Pods.AllContainerStats(ctx, func(c *pod.ContainerStatus) bool {
		return prefixed(c.ID, f.GetId()) && prefixed(c.PodID, f.GetPodSandboxId()) && selects(f.GetLabelSelector(), c.Spec.Labels)
	})
	if err != nil {
		return nil, err
	}
	answer := &cri.ListContainerStatsResponse{}
	for _, st := range list {
		answer.Stats = append(answer.Stats, containerStats(st))
	}
	return answer, nil
}

func containerStats(st *pod.ContainerStats) *cri.ContainerStats {
	return &cri.ContainerStats{
		Attributes: &cri.ContainerAttributes{
			Id: st.ID, Metadata: &cri.ContainerMetadata{Name: st.Spec.Name, Attempt: st.Spec.Attempt},
			Labels: st.Spec.Labels, Annotations: st.Spec.Annotations,
		},
		Cpu: cpuUsage(st.Stats, st.Time), Memory: memoryUsage(st.Stats, st.Time), Swap: swapUsage(st.Stats, st.Time), Io: ioUsage(st.Stats, st.Time),
	}
}

func count(n uint64) *cri.UInt64Value { return &cri.UInt64Value{Value: n} }

func cpuUsage(s *cgroup.Stats, at time.Time) *cri.CpuUsage {
	if s == nil {
		return nil
	}
	return &cri.CpuUsage{Timestamp: at.UnixNano(), UsageCoreNanoSeconds: count(s.CPUUsage), Psi: pressure(s.CPUPressure)}
}

func memoryUsage(s *cgroup.Stats, at time.Time) *cri.MemoryUsage {
	if s == nil || s.Memory == nil {
		return nil
	}
	m := s.Memory
	usage := &cri.MemoryUsage{
		Timestamp: at.UnixNano(), WorkingSetBytes: count(m.WorkingSet), UsageBytes: count(m.Usage), RssBytes: count(m.RSS),
		PageFaults: count(m.PageFaults), MajorPageFaults: count(m.MajorPageFaults), Psi: pressure(s.MemoryPressure),
	}
	if m.Limit >= 0 {
		usage.AvailableBytes = count(uint64(max(m.Limit-int64(m.WorkingSet), 0)))
	}
	return usage
}

func swapUsage(s *cgroup.Stats, at time.Time) *cri.SwapUsage {
	if s == nil || s.Swap == nil {
		return nil
	}
	usage := &cri.SwapUsage{Timestamp: at.UnixNano(), SwapUsageBytes: count(s.Swap.Usage)}
	if s.Swap.Limit >= 0 {
		usage.SwapAvailableBytes = count(uint64(max(s.Swap.Limit-int64(s.Swap.Usage), 0)))
	}
	return usage
}

func ioUsage(s *cgroup.Stats, at time.Time) *cri.IoUsage {
	if s == nil || s.IOPressure == nil {
		return nil
	}
	return &cri.IoUsage{Timestamp: at.UnixNano(), Psi: pressure(s.IOPressure)}
}

func pressure(p *cgroup.Pressure) *cri.PsiStats {
	if p == nil {
		return nil
	}
	return &cri.PsiStats{Full: pressureLine(p.Full), Some: pressureLine(p.Some)}
}

func pressureLine(l cgroup.PressureLine) *cri.PsiData {
	return &cri.PsiData{Total: l.Total, Avg10: l.Avg10, Avg60: l.Avg60, Avg300: l.Avg300}
}
