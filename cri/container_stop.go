package cri

import (
	"context"
	"math"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// StopContainer ends a container; timeout is in seconds.
func (s *Server) StopContainer(ctx context.Context, r *cri.StopContainerRequest) (*cri.StopContainerResponse, error) {
	return &cri.StopContainerResponse{}, s.Pods.StopContainer(ctx, r.GetContainerId(), seconds(r.GetTimeout()))
}

// seconds is a timeout of the CRI: less than none is none, and more than a time.Duration can hold is the most that it can.
func seconds(n int64) time.Duration {
	const most = int64(math.MaxInt64 / time.Second)
	return time.Duration(min(max(n, 0), most)) * time.Second
}
