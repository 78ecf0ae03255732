package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/hack/machine"
	"podlet/hack/node"
)

// cleanUp removes the pod and ends podlet.
func cleanUp(ctx context.Context, p *page, n *node.Node) error {
	p.title("The clean-up")
	began := time.Now()
	err := n.RemovePods(ctx)
	if err != nil {
		return errors.Join(err, n.Close())
	}
	p.line("StopPodSandbox and RemovePodSandbox: %s", took(began))
	pods, err := n.Runtime.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
	if err != nil {
		return errors.Join(err, n.Close())
	}
	containers, err := n.Runtime.ListContainers(ctx, &cri.ListContainersRequest{})
	if err != nil {
		return errors.Join(err, n.Close())
	}
	p.check(len(pods.Items)+len(containers.Containers) == 0, "the CRI lists no pod and no container")
	err = n.Close()
	p.check(err == nil, "podlet ended on SIGTERM")
	return err
}

// nothingLeft compares the machine with what it was before the demo.
func nothingLeft(p *page, before *machine.Machine) error {
	p.title("Nothing is left")
	processes, changes, after, err := machine.Settled(before)
	if err != nil {
		return err
	}
	for _, process := range processes {
		p.line("left: process %s", process)
	}
	for _, change := range changes {
		p.line("%s", change)
	}
	p.check(len(processes) == 0, "no process: every one that the demo started has ended")
	for _, kind := range []string{"mount", "cgroup", "link", "table"} {
		p.check(!mentions(changes, kind), "no %s: %d before, %d now", kind, before.Count(kind), after.Count(kind))
	}
	p.check(!mentions(changes, "sysctl"), "the node forwards packets as it did before: no more, no less")
	p.check(!mentions(changes, "file") && !mentions(changes, "loop"), "no network namespace, loop device or file")
	if len(processes) > 0 {
		return fmt.Errorf("%d processes are left", len(processes))
	}
	return nil
}

func mentions(changes []string, kind string) bool {
	return slices.ContainsFunc(changes, func(change string) bool { return strings.Contains(change, ": "+kind+" ") })
}
