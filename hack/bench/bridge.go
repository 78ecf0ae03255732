package main

import (
	"context"
	"fmt"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Names of the rows.
const (
	rowUpBridge   = "pod-up-bridge"   // as pod-up-netns, on podlet's own bridge, with IPv4 and IPv6
	rowDownBridge = "pod-down-bridge" // pod-down of these pods, which gives the addresses back
	rowRunHostnet = "runpod-hostnet"  // RunPodSandbox alone, host network
	rowRunBridge  = "runpod-bridge"   // the same on the bridge, in turns with runpod-hostnet, which is its base
)

// benchBridge is the bridge's name. It is in the network namespace that bench runs in; see main.
const benchBridge = "podletbench"

// bridgeRows has the floor put its pods on a bridge of its own.
func bridgeRows(ctx context.Context, o options) ([]row, error) {
	o.bridge = benchBridge
	podlet, floor, err := rounds(ctx, o, floorBridge)
	if err != nil {
		return nil, err
	}
	up, down := func(r round) time.Duration { return r.up }, func(r round) time.Duration { return r.down }
	return []row{
		timesRow(rowUpBridge, each(podlet, up), each(floor, up)),
		timesRow(rowDownBridge, each(podlet, down), each(floor, down)),
	}, nil
}

// runRows has one podlet make pods of both kinds in turns. Who is first changes from round to round.
func runRows(ctx context.Context, o options) (_ []row, err error) {
	o.bridge = benchBridge
	var b bench
	defer b.close(&err)
	if err := b.start(ctx, o); err != nil {
		return nil, err
	}
	var hostnet, bridge []time.Duration
	for i := range warmUp + o.n {
		for _, bridged := range [2]bool{i%2 == 0, i%2 == 1} {
			took, err := b.runPod(ctx, bridged)
			if err != nil {
				return nil, fmt.Errorf("%w\n%s", err, b.node.LogTail())
			}
			times := &hostnet
			if bridged {
				times = &bridge
			}
			if i >= warmUp {
				*times = append(*times, took)
			}
		}
	}
	return []row{timesRow(rowRunHostnet, hostnet, nil), againstRow(rowRunBridge, bridge, rowRunHostnet, hostnet)}, nil
}

// runPod makes a pod without containers and removes it; what the former takes is what counts.
func (b *bench) runPod(ctx context.Context, own bool) (time.Duration, error) {
	config := b.podConfig(own)
	began := time.Now()
	sandbox, err := b.node.Runtime.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: config})
	if err != nil {
		return 0, fmt.Errorf("RunPodSandbox: %w", err)
	}
	took := time.Since(began)
	_, err = b.down(ctx, pod{id: sandbox.PodSandboxId})
	return took, err
}
