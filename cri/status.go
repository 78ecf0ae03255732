package cri

import (
	"context"
	"encoding/json"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Status says whether pods can run, and what the runtime can do.
func (s *Server) Status(_ context.Context, r *cri.StatusRequest) (*cri.StatusResponse, error) {
	features, err := s.Pods.Features()
	if err != nil {
		return nil, err
	}
	answer := &cri.StatusResponse{
		Status: &cri.RuntimeStatus{Conditions: []*cri.RuntimeCondition{
			{Type: cri.RuntimeReady, Status: true},
			{Type: cri.NetworkReady, Status: true},
		}},
		RuntimeHandlers: []*cri.RuntimeHandler{{Features: &cri.RuntimeHandlerFeatures{
			RecursiveReadOnlyMounts: features.RecursiveReadOnly, UserNamespaces: features.UserNamespaces,
		}}},
		Features: &cri.RuntimeFeatures{SupplementalGroupsPolicy: true},
	}
	if r.GetVerbose() {
		text, err := json.Marshal(map[string]any{"version": s.Release, "machine": s.Pods.Machine(), "features": features})
		if err != nil {
			return nil, err
		}
		answer.Info = map[string]string{"config": string(text)}
	}
	return answer, nil
}
