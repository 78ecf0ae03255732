package cri

import (
	"context"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// RunPodSandbox makes a pod's namespaces.
func (s *Server) RunPodSandbox(ctx context.Context, r *cri.RunPodSandboxRequest) (*cri.RunPodSandboxResponse, error) {
	if r.GetConfig() == nil {
		return nil, invalid("no config")
	}
	sandbox, err := SandboxSpec(r.Config)
	if err != nil {
		return nil, err
	}
	sandbox.RuntimeHandler = r.RuntimeHandler
	id, err := s.Pods.RunPod(ctx, sandbox)
	if err != nil {
		return nil, err
	}
	return &cri.RunPodSandboxResponse{PodSandboxId: id}, nil
}
