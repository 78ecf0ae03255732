package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// What is asked of podlet itself, past the kubelet.

// pausePID is the pause of a ready pod.
func (s *site) pausePID(ctx context.Context, pod string) (int, error) {
	list, err := s.node.Runtime.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{Filter: &cri.PodSandboxFilter{
		State:         &cri.PodSandboxStateValue{State: cri.PodSandboxState_SANDBOX_READY},
		LabelSelector: map[string]string{"io.kubernetes.pod.name": pod + "-" + nodeName},
	}})
	if err != nil {
		return 0, err
	}
	if len(list.Items) != 1 {
		return 0, fmt.Errorf("pod %s has %d ready sandboxes", pod, len(list.Items))
	}
	status, err := s.node.Runtime.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: list.Items[0].Id, Verbose: true})
	if err != nil {
		return 0, err
	}
	var info struct{ PID int }
	if err := json.Unmarshal([]byte(status.Info["info"]), &info); err != nil || info.PID == 0 {
		return 0, fmt.Errorf("verbose status of pod %s: pid %d: %w", pod, info.PID, err)
	}
	return info.PID, nil
}

// exec runs a command in a running container of a pod and gives its output; it fails if the command does.
func (s *site) exec(ctx context.Context, pod, container string, command ...string) (string, error) {
	list, err := s.node.Runtime.ListContainers(ctx, &cri.ListContainersRequest{Filter: &cri.ContainerFilter{
		State:         &cri.ContainerStateValue{State: cri.ContainerState_CONTAINER_RUNNING},
		LabelSelector: map[string]string{"io.kubernetes.pod.name": pod + "-" + nodeName, "io.kubernetes.container.name": container},
	}})
	if err != nil {
		return "", err
	}
	if len(list.Containers) != 1 {
		return "", fmt.Errorf("pod %s has %d running containers %s", pod, len(list.Containers), container)
	}
	answer, err := s.node.Runtime.ExecSync(ctx, &cri.ExecSyncRequest{ContainerId: list.Containers[0].Id, Cmd: command, Timeout: 10})
	if err != nil {
		return "", err
	}
	if answer.ExitCode != 0 {
		return string(answer.Stdout), fmt.Errorf("%s in pod %s: exit code %d: %s", strings.Join(command, " "), pod, answer.ExitCode, answer.Stderr)
	}
	return string(answer.Stdout), nil
}
