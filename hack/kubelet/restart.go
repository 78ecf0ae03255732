package main

import (
	"context"
	"net/http"
)

// kubeletRestarts: a new kubelet knows from podlet alone what runs.
func (s *site) kubeletRestarts(ctx context.Context, p *page) error {
	pod, err := s.kubelet.pod(ctx, "web")
	if err != nil {
		return err
	}
	before := pod.ids()
	if err := s.kubelet.stop(); err != nil {
		return err
	}
	s.kubelet.client.Transport.(*http.Transport).CloseIdleConnections()
	if err := s.kubelet.start(ctx); err != nil {
		return err
	}
	s.holds(ctx, p, "the kubelet is restarted: the pod is ready", s.podReady(ctx, "web", true))
	if pod, err = s.kubelet.pod(ctx, "web"); err != nil {
		return err
	}
	p.check(pod.ids() == before, "the containers are those that they were, none restarted")
	if pod.ids() != before {
		p.line("before: %s; after: %s", before, pod.ids())
	}
	return nil
}
