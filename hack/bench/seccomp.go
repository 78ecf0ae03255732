package main

import (
	"context"
	"fmt"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// rowSeccomp is the row's name.
const rowSeccomp = "start-seccomp"

// seccompRounds is how many rounds the row takes for each measurement asked for: the difference is a thirtieth of what is timed.
const seccompRounds = 4

// seccompRows times StartContainer with the profile RuntimeDefault against Unconfined. Both containers of a round are created
// before either is started; who is first changes from round to round.
func seccompRows(ctx context.Context, o options) (_ []row, err error) {
	var b bench
	defer b.close(&err)
	if err := b.start(ctx, o); err != nil {
		return nil, err
	}
	config := b.podConfig(false)
	sandbox, err := b.node.Runtime.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: config})
	if err != nil {
		return nil, fmt.Errorf("RunPodSandbox: %w", err)
	}
	sides := [2]cri.SecurityProfile_ProfileType{cri.SecurityProfile_RuntimeDefault, cri.SecurityProfile_Unconfined}
	var times [2][]time.Duration
	for i := range warmUp + seccompRounds*o.n {
		var took [2]time.Duration
		var ids [2]string
		for side, profile := range sides {
			if ids[side], err = b.createWithSeccomp(ctx, sandbox.PodSandboxId, config, profile); err != nil {
				return nil, err
			}
		}
		for _, side := range [2]int{i % 2, 1 - i%2} {
			began := time.Now()
			if _, err := b.node.Runtime.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: ids[side]}); err != nil {
				return nil, fmt.Errorf("StartContainer with seccomp profile %s: %w\n%s", sides[side], err, b.node.LogTail())
			}
			took[side] = time.Since(began)
		}
		for side, id := range ids {
			if _, err := b.node.Runtime.RemoveContainer(ctx, &cri.RemoveContainerRequest{ContainerId: id}); err != nil {
				return nil, fmt.Errorf("RemoveContainer: %w", err)
			}
			if i >= warmUp {
				times[side] = append(times[side], took[side])
			}
		}
	}
	return []row{againstRow(rowSeccomp, times[0], "start-unconfined", times[1])}, nil
}

func (b *bench) createWithSeccomp(ctx context.Context, sandbox string, pod *cri.PodSandboxConfig, profile cri.SecurityProfile_ProfileType) (string, error) {
	config := b.containerConfig(pod)
	config.Metadata.Name = profile.String()
	config.LogPath = profile.String() + ".log"
	config.Linux.SecurityContext.Seccomp = &cri.SecurityProfile{ProfileType: profile}
	created, err := b.node.Runtime.CreateContainer(ctx, &cri.CreateContainerRequest{PodSandboxId: sandbox, Config: config, SandboxConfig: pod})
	if err != nil {
		return "", fmt.Errorf("CreateContainer with seccomp profile %s: %w", profile, err)
	}
	return created.ContainerId, nil
}
