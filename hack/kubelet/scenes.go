package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// sceneTime is how long the kubelet may take for one thing.
const sceneTime = 60 * time.Second

// holds waits for what a check claims and prints it, with the reason if it doesn't come true. The run goes on in any case.
func (s *site) holds(ctx context.Context, p *page, claim string, ask func() error) {
	began := time.Now()
	err := await(ctx, sceneTime, claim, ask)
	p.check(err == nil, "%s (%.1f s)", claim, time.Since(began).Seconds())
	if err != nil {
		p.line("%v", err)
	}
}

func (s *site) scenes(ctx context.Context, p *page) error {
	p.check(true, "the kubelet starts with podlet as its runtime and is healthy")
	for _, scene := range []func(context.Context, *page) error{
		s.comesUp, s.talks, s.streams, s.bridged, s.bridgedCrashes, s.crashes, s.killedUnderway, s.killedAtRest, s.kubeletRestarts,
		s.bridgedAnew, s.bridgedDeleted, s.deleted,
	} {
		if err := scene(ctx, p); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("the run was ended: %w", context.Cause(ctx))
		}
	}
	return nil
}

// podReady is nil when the kubelet says that the pod is ready, or not.
func (s *site) podReady(ctx context.Context, name string, want bool) func() error {
	return func() error {
		pod, err := s.kubelet.pod(ctx, name)
		if err != nil {
			return err
		}
		if pod.ready() != want {
			text, _ := json.Marshal(pod.Status)
			return fmt.Errorf("pod %s ready: %t; status %s", name, pod.ready(), text)
		}
		return nil
	}
}

// noted is nil when the note has exactly these lines.
func (s *site) noted(name string, lines ...string) func() error {
	return func() error {
		if is := s.noteLines(name); !slices.Equal(is, lines) {
			return fmt.Errorf("%s has %q", name, is)
		}
		return nil
	}
}
