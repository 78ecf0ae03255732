package cri

import (
	"context"
	"errors"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/pod"
)

// PodSandboxStats tells what one pod uses.
func (s *Server) PodSandboxStats(ctx context.Context, r *cri.PodSandboxStatsRequest) (*cri.PodSandboxStatsResponse, error) {
	st, err := s.Pods.PodStats(ctx, r.GetPodSandboxId())
	if err != nil {
		return nil, err
	}
	return &cri.PodSandboxStatsResponse{Stats: podStats(st)}, nil
}

// ListPodSandboxStats tells what the ready pods that a filter lets through use.
func (s *Server) ListPodSandboxStats(ctx context.Context, r *cri.ListPodSandboxStatsRequest) (*cri.ListPodSandboxStatsResponse, error) {
	f := r.GetFilter()
	answer := &cri.ListPodSandboxStatsResponse{}
	for _, st := range s.Pods.Pods(ctx) {
		if st.State != pod.PodReady || !prefixed(st.ID, f.GetId()) || !selects(f.GetLabelSelector(), st.Spec.Labels) {
			continue
		}
		stats, err := s.Pods.PodStats(ctx, st.ID)
		if errors.Is(err, pod.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		answer.Stats = append(answer.Stats, podStats(stats))
	}
	return answer, nil
}

func podStats(st *pod.PodStats) *cri.PodSandboxStats {
	linux := &cri.LinuxPodSandboxStats{Cpu: cpuUsage(st.Stats, st.Time), Memory: memoryUsage(st.Stats, st.Time), Io: ioUsage(st.Stats, st.Time)}
	if st.Stats != nil && st.Tasks != nil {
		linux.Process = &cri.ProcessUsage{Timestamp: st.Time.UnixNano(), ProcessCount: count(*st.Tasks)}
	}
	for _, c := range st.Containers {
		linux.Containers = append(linux.Containers, containerStats(c))
	}
	return &cri.PodSandboxStats{
		Attributes: &cri.PodSandboxAttributes{
			Id: st.ID, Metadata: podMetadata(st.Spec), Labels: st.Spec.Labels, Annotations: st.Spec.Annotations,
		},
		Linux: linux,
	}
}
