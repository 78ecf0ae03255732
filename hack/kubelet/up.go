package main

import (
	"context"
	"os"
	"slices"
	"strings"
)

// comesUp: init, then sidecar, then app, and probes of each kind.
func (s *site) comesUp(ctx context.Context, p *page) error {
	if err := s.addPod("web"); err != nil {
		return err
	}
	s.holds(ctx, p, "a pod of init container, sidecar and app gets ready, as the exec, HTTP and TCP probes say", s.podReady(ctx, "web", true))
	order := s.noteLines("order")
	p.check(slices.Equal(order, []string{"init", "sidecar", "app"}), "they were started in that order: %s", strings.Join(order, ", "))
	pod, err := s.kubelet.pod(ctx, "web")
	if err != nil {
		return err
	}
	init, sidecar, app := pod.container("init"), pod.container("sidecar"), pod.container("app")
	p.check(init.State.Terminated != nil && init.State.Terminated.ExitCode == 0 && init.State.Terminated.Reason == "Completed",
		"the init container is known to have completed")
	p.check(sidecar.State.Running != nil && sidecar.Started != nil && *sidecar.Started, "the sidecar runs, started as its exec probe says")
	p.check(app.State.Running != nil && app.Started != nil && *app.Started && app.Ready && app.RestartCount == 0,
		"the app runs, started as its TCP probe says, ready as its exec probe says")

	if err := os.WriteFile(s.note("unready"), nil, 0o644); err != nil {
		return err
	}
	s.holds(ctx, p, "its exec probe fails: the pod is unready", s.podReady(ctx, "web", false))
	if err := os.Remove(s.note("unready")); err != nil {
		return err
	}
	s.holds(ctx, p, "its exec probe succeeds: the pod is ready again", s.podReady(ctx, "web", true))
	return nil
}
