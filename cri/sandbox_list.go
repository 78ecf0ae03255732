package cri

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/pod"
)

// ListPodSandbox lists the pods that a filter lets through, the youngest first.
func (s *Server) ListPodSandbox(ctx context.Context, r *cri.ListPodSandboxRequest) (*cri.ListPodSandboxResponse, error) {
	return &cri.ListPodSandboxResponse{Items: s.sandboxes(ctx, r.GetFilter())}, nil
}

// StreamPodSandboxes is ListPodSandbox in pieces.
func (s *Server) StreamPodSandboxes(r *cri.StreamPodSandboxesRequest, to grpc.ServerStreamingServer[cri.StreamPodSandboxesResponse]) error {
	return inPieces(s.sandboxes(to.Context(), r.GetFilter()), func(piece []*cri.PodSandbox) error {
		return to.Send(&cri.StreamPodSandboxesResponse{PodSandboxes: piece})
	})
}

func (s *Server) sandboxes(ctx context.Context, f *cri.PodSandboxFilter) []*cri.PodSandbox {
	list := s.Pods.Pods(ctx)
	slices.SortFunc(list, func(a, b *pod.PodStatus) int { return b.Created.Compare(a.Created) })
	var out []*cri.PodSandbox
	for _, st := range list {
		if letsPod(f, st) {
			out = append(out, &cri.PodSandbox{
				Id: st.ID, Metadata: podMetadata(st.Spec), State: podState(st.State), CreatedAt: st.Created.UnixNano(),
				Labels: st.Spec.Labels, Annotations: st.Spec.Annotations, RuntimeHandler: st.Spec.RuntimeHandler,
			})
		}
	}
	return out
}

// letsPod says whether a filter, all of whose fields count, lets a pod through.
func letsPod(f *cri.PodSandboxFilter, st *pod.PodStatus) bool {
	return prefixed(st.ID, f.GetId()) && (f.GetState() == nil || f.State.State == podState(st.State)) && selects(f.GetLabelSelector(), st.Spec.Labels)
}
