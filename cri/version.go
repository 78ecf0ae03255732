package cri

import (
	"context"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Version answers with podlet's version; the first field is the kubelet's own runtime API version, which has always been 0.1.0.
func (s *Server) Version(context.Context, *cri.VersionRequest) (*cri.VersionResponse, error) {
	return &cri.VersionResponse{Version: "0.1.0", RuntimeName: "podlet", RuntimeVersion: s.Release, RuntimeApiVersion: "v1"}, nil
}
