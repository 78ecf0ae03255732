package cri

import (
	"context"

	"google.golang.org/grpc"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/internal/network"
	"podlet/pod"
)

// PodSandboxStats tells what one pod uses; of one that isn't ready, nothing.
func (s *Server) PodSandboxStats(ctx context.Context, r *cri.PodSandboxStatsRequest) (*cri.PodSandboxStatsResponse, error) {
	st, err := s.Pods.PodStats(ctx, r.GetPodSandboxId())
	if err != nil {
		return nil, err
	}
	return &cri.PodSandboxStatsResponse{Stats: s.podStats(st)}, nil
}

// ListPodSandboxStats tells what the ready pods that a filter lets through use.
func (s *Server) ListPodSandboxStats(ctx context.Context, r *cri.ListPodSandboxStatsRequest) (*cri.ListPodSandboxStatsResponse, error) {
	return &cri.ListPodSandboxStatsResponse{Stats: s.listPodStats(ctx, r.GetFilter())}, nil
}

// StreamPodSandboxStats is ListPodSandboxStats in pieces.
func (s *Server) StreamPodSandboxStats(r *cri.StreamPodSandboxStatsRequest, to grpc.ServerStreamingServer[cri.StreamPodSandboxStatsResponse]) error {
	return inPieces(s.listPodStats(to.Context(), r.GetFilter()), func(piece []*cri.PodSandboxStats) error {
		return to.Send(&cri.StreamPodSandboxStatsResponse{PodSandboxStats: piece})
	})
}

func (s *Server) listPodStats(ctx context.Context, f *cri.PodSandboxStatsFilter) []*cri.PodSandboxStats {
	list := s.Pods.AllPodStats(ctx, func(p *pod.PodStatus) bool {
		return prefixed(p.ID, f.GetId()) && selects(f.GetLabelSelector(), p.Spec.Labels)
	})
	all := make([]*cri.PodSandboxStats, 0, len(list))
	for _, st := range list {
		all = append(all, s.podStats(st))
	}
	return all
}

func (s *Server) podStats(st *pod.PodStats) *cri.PodSandboxStats {
	linux := &cri.LinuxPodSandboxStats{
		Cpu: cpuUsage(st.Stats), Memory: memoryUsage(st.Stats), Io: ioUsage(st.Stats), Network: networkUsage(st), Containers: s.containersStats(st.Containers),
	}
	if st.Stats != nil && st.Tasks != nil {
		linux.Process = &cri.ProcessUsage{Timestamp: st.Stats.Time.UnixNano(), ProcessCount: count(*st.Tasks)}
	}
	return &cri.PodSandboxStats{
		Attributes: &cri.PodSandboxAttributes{
			Id: st.ID, Metadata: podMetadata(st.Spec), Labels: st.Spec.Labels, Annotations: st.Spec.Annotations,
		},
		Linux: linux,
	}
}

// defaultLink is what pod networks call a pod's first link.
const defaultLink = "eth0"

// networkUsage is nil for a pod without a link of its own: kubelets read a default interface wherever there is a network. A pod without eth0 has its
// first link for that.
func networkUsage(st *pod.PodStats) *cri.NetworkUsage {
	if len(st.Links) == 0 {
		return nil
	}
	first := 0
	for i, l := range st.Links {
		if l.Name == defaultLink {
			first = i
		}
	}
	usage := &cri.NetworkUsage{Timestamp: st.LinksTime.UnixNano(), DefaultInterface: linkUsage(st.Links[first])}
	for i, l := range st.Links {
		if i != first {
			usage.Interfaces = append(usage.Interfaces, linkUsage(l))
		}
	}
	return usage
}

func linkUsage(c network.Counters) *cri.NetworkInterfaceUsage {
	return &cri.NetworkInterfaceUsage{
		Name: c.Name, RxBytes: count(c.RxBytes), RxErrors: count(c.RxErrors), TxBytes: count(c.TxBytes), TxErrors: count(c.TxErrors),
	}
}
