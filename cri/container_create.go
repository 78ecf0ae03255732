package cri

import (
	"context"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// CreateContainer makes a container in a pod.
func (s *Server) CreateContainer(ctx context.Context, r *cri.CreateContainerRequest) (*cri.CreateContainerResponse, error) {
	if r.GetConfig() == nil {
		return nil, invalid("no config")
	}
	sandbox, err := s.Pods.PodStatus(ctx, r.GetPodSandboxId())
	if err != nil {
		return nil, err
	}
	machine := s.Pods.Machine()
	container, err := ContainerSpec(sandbox.Spec, r.Config, &machine)
	if err != nil {
		return nil, err
	}
	id, err := s.Pods.CreateContainer(ctx, r.PodSandboxId, container)
	if err != nil {
		return nil, err
	}
	return &cri.CreateContainerResponse{ContainerId: id}, nil
}
