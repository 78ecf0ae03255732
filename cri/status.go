package cri

import (
	"context"
	"encoding/json"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Status says whether pods can run, and what the runtime can do.
func (s *Server) Status(ctx context.Context, r *cri.StatusRequest) (*cri.StatusResponse, error) {
	features, err := s.Pods.Features()
	if err != nil {
		return nil, err
	}
	answer := &cri.StatusResponse{
		Status: &cri.RuntimeStatus{Conditions: []*cri.RuntimeCondition{
			{Type: cri.RuntimeReady, Status: true},
			s.networkCondition(ctx),
		}},
		RuntimeHandlers: []*cri.RuntimeHandler{{Features: &cri.RuntimeHandlerFeatures{
			RecursiveReadOnlyMounts: features.RecursiveReadOnly, UserNamespaces: features.UserNamespaces,
		}}},
		Features: &cri.RuntimeFeatures{SupplementalGroupsPolicy: true, MountOptions: true},
	}
	if r.GetVerbose() {
		text, err := json.Marshal(map[string]any{"version": s.Release, "machine": s.Pods.Machine(), "features": features, "network": s.Pods.DescribeNetwork()})
		if err != nil {
			return nil, err
		}
		answer.Info = map[string]string{"config": string(text)}
	}
	return answer, nil
}

// networkTime bounds the look at the network; a kubelet asks every few seconds.
const networkTime = 5 * time.Second

func (s *Server) networkCondition(ctx context.Context) *cri.RuntimeCondition {
	ctx, cancel := context.WithTimeout(ctx, networkTime)
	defer cancel()
	c := &cri.RuntimeCondition{Type: cri.NetworkReady, Status: true}
	if err := s.Pods.CheckNetwork(ctx); err != nil {
		// The reason by which kubelets and their users know this.
		c.Status, c.Reason, c.Message = false, "NetworkPluginNotReady", err.Error()
	}
	// Said once, not every few seconds.
	was := s.networkSaid.Swap(&c.Message)
	switch {
	case c.Message != "" && (was == nil || *was != c.Message):
		s.Log.Error("the pod network does not work", "error", c.Message)
	case c.Message == "" && was != nil && *was != "":
		s.Log.Info("the pod network works again")
	}
	return c
}
