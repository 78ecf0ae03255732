package cri

import (
	"context"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// UpdateContainerResources changes the limits of a container. A field that is 0 stays as it is, as in every runtime of the CRI; that
// includes oom_score_adj, for which api.proto has no other way to say so.
func (s *Server) UpdateContainerResources(ctx context.Context, r *cri.UpdateContainerResourcesRequest) (*cri.UpdateContainerResourcesResponse, error) {
	if r.GetLinux() == nil {
		return nil, invalid("no linux resources")
	}
	want, err := resources(r.Linux)
	if err != nil {
		return nil, err
	}
	var score *int
	if r.Linux.OomScoreAdj != 0 {
		value := int(r.Linux.OomScoreAdj)
		score = &value
	}
	return &cri.UpdateContainerResourcesResponse{}, s.Pods.UpdateContainer(ctx, r.GetContainerId(), want, score)
}
