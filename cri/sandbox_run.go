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

// StopPodSandbox ends all that runs in a pod.
func (s *Server) StopPodSandbox(ctx context.Context, r *cri.StopPodSandboxRequest) (*cri.StopPodSandboxResponse, error) {
	return &cri.StopPodSandboxResponse{}, s.Pods.StopPod(ctx, r.GetPodSandboxId())
}

// RemovePodSandbox removes a pod and its containers.
func (s *Server) RemovePodSandbox(ctx context.Context, r *cri.RemovePodSandboxRequest) (*cri.RemovePodSandboxResponse, error) {
	return &cri.RemovePodSandboxResponse{}, s.Pods.RemovePod(ctx, r.GetPodSandboxId())
}
