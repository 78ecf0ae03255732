package cri

import (
	"context"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ExecSync runs a command in a container; timeout is in seconds, 0 being none.
func (s *Server) ExecSync(ctx context.Context, r *cri.ExecSyncRequest) (*cri.ExecSyncResponse, error) {
	if r.GetTimeout() < 0 {
		return nil, invalid("timeout %d", r.Timeout)
	}
	if err := noNUL("cmd", r.GetCmd()...); err != nil {
		return nil, err
	}
	result, err := s.Pods.ExecSync(ctx, r.GetContainerId(), r.GetCmd(), seconds(r.GetTimeout()))
	if err != nil {
		return nil, err
	}
	return &cri.ExecSyncResponse{Stdout: result.Stdout, Stderr: result.Stderr, ExitCode: int32(result.ExitCode)}, nil
}
