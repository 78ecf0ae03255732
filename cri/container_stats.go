package cri

import (
	"context"

	"google.golang.org/grpc"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/cgroup"
	"podlet/pod"
)

// ContainerStats tells what one container uses; of one that doesn't run, that is its writable layer alone.
func (s *Server) ContainerStats(ctx context.Context, r *cri.ContainerStatsRequest) (*cri.ContainerStatsResponse, error) {
	st, err := s.Pods.ContainerStats(ctx, r.GetContainerId())
	if err != nil {
		return nil, err
	}
	return &cri.ContainerStatsResponse{Stats: s.containerStats(st)}, nil
}

// ListContainerStats tells what the running containers that a filter lets through use.
func (s *Server) ListContainerStats(ctx context.Context, r *cri.ListContainerStatsRequest) (*cri.ListContainerStatsResponse, error) {
	return &cri.ListContainerStatsResponse{Stats: s.listContainerStats(ctx, r.GetFilter())}, nil
}

// StreamContainerStats is ListContainerStats in pieces.
func (s *Server) StreamContainerStats(r *cri.StreamContainerStatsRequest, to grpc.ServerStreamingServer[cri.StreamContainerStatsResponse]) error {
	return inPieces(s.listContainerStats(to.Context(), r.GetFilter()), func(piece []*cri.ContainerStats) error {
		return to.Send(&cri.StreamContainerStatsResponse{ContainerStats: piece})
	})
}

func (s *Server) listContainerStats(ctx context.Context, f *cri.ContainerStatsFilter) []*cri.ContainerStats {
	list := s.Pods.AllContainerStats(ctx, func(c *pod.ContainerStatus) bool {
		return prefixed(c.ID, f.GetId()) && prefixed(c.PodID, f.GetPodSandboxId()) && selects(f.GetLabelSelector(), c.Spec.Labels)
	})
	return s.containersStats(list)
}

func (s *Server) containersStats(list []*pod.ContainerStats) []*cri.ContainerStats {
	all := make([]*cri.ContainerStats, 0, len(list))
	for _, st := range list {
		all = append(all, s.containerStats(st))
	}
	return all
}

func (s *Server) containerStats(st *pod.ContainerStats) *cri.ContainerStats {
	return &cri.ContainerStats{
		Attributes: &cri.ContainerAttributes{
			Id: st.ID, Metadata: &cri.ContainerMetadata{Name: st.Spec.Name, Attempt: st.Spec.Attempt},
			Labels: st.Spec.Labels, Annotations: st.Spec.Annotations,
		},
		Cpu: cpuUsage(st.Stats), Memory: memoryUsage(st.Stats), Swap: swapUsage(st.Stats), Io: ioUsage(st.Stats),
		WritableLayer: s.layerUsage(st.Layer),
	}
}

func count(n uint64) *cri.UInt64Value { return &cri.UInt64Value{Value: n} }

func cpuUsage(s *cgroup.Stats) *cri.CpuUsage {
	if s == nil || s.CPU == nil {
		return nil
	}
	usage := &cri.CpuUsage{Timestamp: s.Time.UnixNano(), UsageCoreNanoSeconds: count(s.CPU.Usage), Psi: pressure(s.CPUPressure)}
	if s.CPU.Rate != nil {
		usage.UsageNanoCores = count(*s.CPU.Rate)
	}
	return usage
}

func memoryUsage(s *cgroup.Stats) *cri.MemoryUsage {
	if s == nil || s.Memory == nil {
		return nil
	}
	m := s.Memory
	usage := &cri.MemoryUsage{
		Timestamp: s.Time.UnixNano(), WorkingSetBytes: count(m.WorkingSet), UsageBytes: count(m.Usage), RssBytes: count(m.RSS),
		PageFaults: count(m.PageFaults), MajorPageFaults: count(m.MajorPageFaults), Psi: pressure(s.MemoryPressure),
	}
	if m.Limit >= 0 {
		usage.AvailableBytes = count(uint64(max(m.Limit-int64(m.WorkingSet), 0)))
	}
	return usage
}

func swapUsage(s *cgroup.Stats) *cri.SwapUsage {
	if s == nil || s.Swap == nil {
		return nil
	}
	usage := &cri.SwapUsage{Timestamp: s.Time.UnixNano(), SwapUsageBytes: count(s.Swap.Usage)}
	if s.Swap.Limit >= 0 {
		usage.SwapAvailableBytes = count(uint64(max(s.Swap.Limit-int64(s.Swap.Usage), 0)))
	}
	return usage
}

func ioUsage(s *cgroup.Stats) *cri.IoUsage {
	if s == nil || s.IOPressure == nil {
		return nil
	}
	return &cri.IoUsage{Timestamp: s.Time.UnixNano(), Psi: pressure(s.IOPressure)}
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
