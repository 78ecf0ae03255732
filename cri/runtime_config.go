package cri

import (
	"context"
	"net/netip"
	"strings"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// RuntimeConfig tells the kubelet the cgroup driver.
func (s *Server) RuntimeConfig(context.Context, *cri.RuntimeConfigRequest) (*cri.RuntimeConfigResponse, error) {
	return &cri.RuntimeConfigResponse{Linux: &cri.LinuxRuntimeConfiguration{CgroupDriver: cri.CgroupDriver_CGROUPFS}}, nil
}

// UpdateRuntimeConfig takes the node's pod CIDR, one for each family with a comma between: a hint (api.proto) that CNI plugins are given. The built-in
// network has no use for it, as its subnets are its own configuration.
func (s *Server) UpdateRuntimeConfig(_ context.Context, r *cri.UpdateRuntimeConfigRequest) (*cri.UpdateRuntimeConfigResponse, error) {
	var list []netip.Prefix
	text := r.GetRuntimeConfig().GetNetworkConfig().GetPodCidr()
	for field := range strings.SplitSeq(text, ",") {
		if field = strings.TrimSpace(field); field == "" {
			continue
		}
		p, err := netip.ParsePrefix(field)
		if err != nil {
			return nil, invalid("pod_cidr %.100q: %.60q is no subnet such as 10.88.0.0/16", text, field)
		}
		list = append(list, p.Masked())
	}
	if len(list) == 0 {
		// A kubelet says so of a node that has got none yet.
		return &cri.UpdateRuntimeConfigResponse{}, nil
	}
	return &cri.UpdateRuntimeConfigResponse{}, s.Pods.SetPodCIDRs(list)
}
