package main

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
)

// killedUnderway: podlet dies while a pod comes up, and while it goes.
func (s *site) killedUnderway(ctx context.Context, p *page) error {
	if err := s.addPod("late"); err != nil {
		return err
	}
	s.holds(ctx, p, "another pod's init container runs", s.noted("late", "init"))
	if err := s.node.Kill(); err != nil {
		return err
	}
	if err := os.WriteFile(s.note("go"), nil, 0o644); err != nil {
		return err
	}
	s.holds(ctx, p, "kill -9 of podlet: without it the init container runs to its end", s.noted("late", "init", "init ended"))
	if err := s.node.Serve(ctx); err != nil {
		return err
	}
	s.holds(ctx, p, "podlet is back: the pod gets ready", s.podReady(ctx, "late", true))
	s.holds(ctx, p, "its init container ran once", s.noted("late", "init", "init ended", "app"))
	pod, err := s.kubelet.pod(ctx, "late")
	if err != nil {
		return err
	}
	init := pod.container("init")
	p.check(init.State.Terminated != nil && init.State.Terminated.ExitCode == 0 && init.RestartCount == 0, "and its exit code, 0, is known")

	if err := s.removePod("late"); err != nil {
		return err
	}
	if err := s.node.Kill(); err != nil {
		return err
	}
	if err := s.node.Serve(ctx); err != nil {
		return err
	}
	s.holds(ctx, p, "its manifest is removed, podlet killed and started: the pod ends", s.gone(ctx, "late"))
	s.holds(ctx, p, "and its addresses are free", s.free(pod.ips()))
	return nil
}

// killedAtRest: podlet dies while a pod serves, and stays away until the kubelet has noticed.
func (s *site) killedAtRest(ctx context.Context, p *page) error {
	pod, err := s.kubelet.pod(ctx, "web")
	if err != nil {
		return err
	}
	before := pod.ids()
	bridged, err := s.kubelet.pod(ctx, "bridged")
	if err != nil {
		return err
	}
	if err := s.node.Kill(); err != nil {
		return err
	}
	complaints, err := s.complaints()
	if err != nil {
		return err
	}
	s.holds(ctx, p, "kill -9 of podlet: the kubelet notices", func() error {
		now, err := s.complaints()
		if err == nil && now == complaints {
			err = errors.New("its log has no new complaint")
		}
		return err
	})
	page, err := s.askApp(ctx)
	p.check(err == nil && page == "ok\n", "without podlet the app serves its page")
	s.holds(ctx, p, "so does the one on the bridge, by its addresses and by the node's port", s.served(ctx, bridged.ips()))
	probes := len(s.noteLines("bridged-probes"))
	if err := s.node.Serve(ctx); err != nil {
		return err
	}
	s.holds(ctx, p, "podlet is back: the pod is ready", s.podReady(ctx, "web", true))
	if err := os.WriteFile(s.note("unready"), nil, 0o644); err != nil {
		return err
	}
	s.holds(ctx, p, "its exec probe runs in the same container: unready", s.podReady(ctx, "web", false))
	if err := os.Remove(s.note("unready")); err != nil {
		return err
	}
	s.holds(ctx, p, "and ready again", s.podReady(ctx, "web", true))
	if pod, err = s.kubelet.pod(ctx, "web"); err != nil {
		return err
	}
	p.check(pod.ids() == before, "the containers are those that they were, none restarted")
	if pod.ids() != before {
		p.line("before: %s; after: %s", before, pod.ids())
	}
	return s.bridgedBack(ctx, p, bridged, probes)
}

// complaints counts how often the kubelet said that it can't list the runtime's pods. Nothing else of it tells: an exec probe
// that can't run is no failure of the app.
func (s *site) complaints() (int, error) {
	text, err := os.ReadFile(s.kubelet.logFile)
	return strings.Count(string(text), "GenericPLEG: Unable to retrieve pods"), err
}

// askApp asks the app for its page.
func (s *site) askApp(ctx context.Context) (string, error) {
	return s.kubelet.get(ctx, "http://"+net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))+"/")
}
