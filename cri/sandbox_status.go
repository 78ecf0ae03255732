package cri

import (
	"context"
	"encoding/json"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/pod"
	"podlet/pod/spec"
)

// PodSandboxStatus tells how a pod is; verbose adds its pause's pid and namespaces, and its network in full.
func (s *Server) PodSandboxStatus(ctx context.Context, r *cri.PodSandboxStatusRequest) (*cri.PodSandboxStatusResponse, error) {
	st, err := s.Pods.PodStatus(ctx, r.GetPodSandboxId())
	if err != nil {
		return nil, err
	}
	answer := &cri.PodSandboxStatusResponse{Status: sandboxStatus(st), Timestamp: time.Now().UnixNano()}
	if !r.GetVerbose() {
		return answer, nil
	}
	process, err := s.Pods.PodProcess(ctx, st.ID)
	if err != nil {
		return nil, err
	}
	answer.Info, err = info(struct {
		*pod.ProcessInfo
		NetNS   string          `json:"netns,omitempty"`
		Network *pod.Attachment `json:"network,omitempty"`
		Spec    *spec.Sandbox   `json:"spec"`
	}{process, s.Pods.NetNSPath(st), st.Network, st.Spec})
	return answer, err
}

func sandboxStatus(st *pod.PodStatus) *cri.PodSandboxStatus {
	return &cri.PodSandboxStatus{
		Id: st.ID, Metadata: podMetadata(st.Spec), State: podState(st.State), CreatedAt: st.Created.UnixNano(),
		Network: networkStatus(st.Network),
		Linux:   &cri.LinuxPodSandboxStatus{Namespaces: &cri.Namespace{Options: namespaceOptions(st.Spec)}},
		Labels:  st.Spec.Labels, Annotations: st.Spec.Annotations, RuntimeHandler: st.Spec.RuntimeHandler,
	}
}

// networkStatus tells a pod's addresses: of the first family the one, of the second the additional. It is empty where the pod has none of its
// own, in the node's network and, as with other runtimes, once it was stopped.
func networkStatus(a *pod.Attachment) *cri.PodSandboxNetworkStatus {
	network := &cri.PodSandboxNetworkStatus{}
	if a == nil || len(a.IPs) == 0 {
		return network
	}
	network.Ip = a.IPs[0].String()
	for _, ip := range a.IPs[1:] {
		network.AdditionalIps = append(network.AdditionalIps, &cri.PodIP{Ip: ip.String()})
	}
	return network
}

func podMetadata(s *spec.Sandbox) *cri.PodSandboxMetadata {
	return &cri.PodSandboxMetadata{Name: s.Name, Namespace: s.Namespace, Uid: s.UID, Attempt: s.Attempt}
}

func podState(s pod.PodState) cri.PodSandboxState {
	if s == pod.PodReady {
		return cri.PodSandboxState_SANDBOX_READY
	}
	return cri.PodSandboxState_SANDBOX_NOTREADY
}

func namespaceOptions(s *spec.Sandbox) *cri.NamespaceOption {
	o := &cri.NamespaceOption{Pid: cri.NamespaceMode_CONTAINER}
	if s.HostNetwork {
		o.Network = cri.NamespaceMode_NODE
	}
	if s.HostIPC {
		o.Ipc = cri.NamespaceMode_NODE
	}
	if s.SharedPID {
		o.Pid = cri.NamespaceMode_POD
	}
	if s.HostPID {
		o.Pid = cri.NamespaceMode_NODE
	}
	if s.UserNS != nil {
		o.UsernsOptions = &cri.UserNamespace{Mode: cri.NamespaceMode_POD, Uids: idMappings(s.UserNS.UIDs), Gids: idMappings(s.UserNS.GIDs)}
	}
	return o
}

// info is the verbose part of a status, one JSON text under "info" as crictl shows it.
func info(v any) (map[string]string, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return map[string]string{"info": string(text)}, nil
}
