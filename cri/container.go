package cri

import (
	"context"
	"time"

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

// StartContainer starts a created container.
func (s *Server) StartContainer(ctx context.Context, r *cri.StartContainerRequest) (*cri.StartContainerResponse, error) {
	return &cri.StartContainerResponse{}, s.Pods.StartContainer(ctx, r.GetContainerId())
}

// StopContainer ends a container; timeout is in seconds.
func (s *Server) StopContainer(ctx context.Context, r *cri.StopContainerRequest) (*cri.StopContainerResponse, error) {
	grace := time.Duration(max(r.GetTimeout(), 0)) * time.Second
	return &cri.StopContainerResponse{}, s.Pods.StopContainer(ctx, r.GetContainerId(), grace)
}

// RemoveContainer removes a container.
func (s *Server) RemoveContainer(ctx context.Context, r *cri.RemoveContainerRequest) (*cri.RemoveContainerResponse, error) {
	return &cri.RemoveContainerResponse{}, s.Pods.RemoveContainer(ctx, r.GetContainerId())
}

// ExecSync runs a command in a container; timeout is in seconds, 0 being none.
func (s *Server) ExecSync(ctx context.Context, r *cri.ExecSyncRequest) (*cri.ExecSyncResponse, error) {
	if r.GetTimeout() < 0 {
		return nil, invalid("timeout %d", r.Timeout)
	}
	result, err := s.Pods.ExecSync(ctx, r.GetContainerId(), r.GetCmd(), time.Duration(r.GetTimeout())*time.Second)
	if err != nil {
		return nil, err
	}
	return &cri.ExecSyncResponse{Stdout: result.Stdout, Stderr: result.Stderr, ExitCode: int32(result.ExitCode)}, nil
}
