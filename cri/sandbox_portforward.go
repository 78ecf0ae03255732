package cri

import (
	"context"
	"net"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/internal/streaming"
)

// PortForward gives the URL of a session of connections into a pod.
func (s *Server) PortForward(ctx context.Context, r *cri.PortForwardRequest) (*cri.PortForwardResponse, error) {
	var ports []uint16
	for _, port := range r.GetPort() {
		if port < 1 || port > 65535 {
			return nil, invalid("port %d", port)
		}
		ports = append(ports, uint16(port))
	}
	if err := s.Pods.Ready(ctx, r.GetPodSandboxId()); err != nil {
		return nil, err
	}
	url, err := s.Streams.Forward(&streaming.Forward{Ports: ports, Dial: func(ctx context.Context, port uint16) (net.Conn, error) {
		return s.Pods.Dial(ctx, r.PodSandboxId, port)
	}})
	if err != nil {
		return nil, err
	}
	return &cri.PortForwardResponse{Url: url}, nil
}
