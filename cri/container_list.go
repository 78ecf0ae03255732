package cri

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/pod"
)

// ListContainers lists the containers that a filter lets through, the youngest first.
func (s *Server) ListContainers(ctx context.Context, r *cri.ListContainersRequest) (*cri.ListContainersResponse, error) {
	return &cri.ListContainersResponse{Containers: s.containers(ctx, r.GetFilter())}, nil
}

// StreamContainers is ListContainers in pieces.
func (s *Server) StreamContainers(r *cri.StreamContainersRequest, to grpc.ServerStreamingServer[cri.StreamContainersResponse]) error {
	return inPieces(s.containers(to.Context(), r.GetFilter()), func(piece []*cri.Container) error {
		return to.Send(&cri.StreamContainersResponse{Containers: piece})
	})
}

func (s *Server) containers(ctx context.Context, f *cri.ContainerFilter) []*cri.Container {
	list := s.Pods.Containers(ctx)
	slices.SortFunc(list, func(a, b *pod.ContainerStatus) int { return b.Created.Compare(a.Created) })
	var out []*cri.Container
	for _, st := range list {
		if letsContainer(f, st) {
			out = append(out, &cri.Container{
				Id: st.ID, PodSandboxId: st.PodID, Metadata: &cri.ContainerMetadata{Name: st.Spec.Name, Attempt: st.Spec.Attempt},
				Image: imageSpec(st.Spec), ImageRef: imageRef(st.Spec), ImageId: st.Spec.ImageID, State: containerState(st), CreatedAt: st.Created.UnixNano(),
				Labels: st.Spec.Labels, Annotations: st.Spec.Annotations,
			})
		}
	}
	return out
}

// letsContainer says whether a filter, all of whose fields count, lets a container through.
func letsContainer(f *cri.ContainerFilter, st *pod.ContainerStatus) bool {
	return prefixed(st.ID, f.GetId()) && prefixed(st.PodID, f.GetPodSandboxId()) &&
		(f.GetState() == nil || f.State.State == containerState(st)) && selects(f.GetLabelSelector(), st.Spec.Labels)
}
