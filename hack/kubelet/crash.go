package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
)

// crashes: restarts, farther and farther apart, and one because of a probe.
func (s *site) crashes(ctx context.Context, p *page) error {
	if err := s.addPod("crash"); err != nil {
		return err
	}
	const starts = 5
	s.holds(ctx, p, fmt.Sprintf("a container that ends with 3 is started %d times", starts), func() error {
		if lines := s.noteLines("attempts"); len(lines) < starts {
			return fmt.Errorf("starts so far at %v", lines)
		}
		return nil
	})
	gaps, err := gaps(s.noteLines("attempts"))
	if err != nil {
		return err
	}
	// The first restart is at once; a back-off counts from the end of the container.
	backedOff := len(gaps) >= starts-1 && gaps[1] >= 1 && gaps[2] >= 2 && gaps[3] >= 4
	p.check(backedOff, "each time after a longer while: %.1f s", gaps)
	s.holds(ctx, p, "the kubelet says CrashLoopBackOff, exit code 3 and the container's last message", func() error {
		pod, err := s.kubelet.pod(ctx, "crash")
		if err != nil {
			return err
		}
		c := pod.container("exits")
		waiting, ended := c.State.Waiting, c.LastState.Terminated
		if waiting == nil || waiting.Reason != "CrashLoopBackOff" || ended == nil || ended.ExitCode != 3 || ended.Message != "no luck\n" {
			text, _ := json.Marshal(c)
			return fmt.Errorf("its status is %s", text)
		}
		return nil
	})
	if err := os.WriteFile(s.note("stuck"), nil, 0o644); err != nil {
		return err
	}
	s.holds(ctx, p, "a container whose liveness probe fails is ended and started again", func() error {
		pod, err := s.kubelet.pod(ctx, "crash")
		if err != nil {
			return err
		}
		c := pod.container("stuck")
		if c.RestartCount != 1 || c.State.Running == nil {
			return fmt.Errorf("its status is %+v", *c)
		}
		return nil
	})
	return nil
}

func gaps(times []string) ([]float64, error) {
	var gaps []float64
	last := 0.0
	for i, text := range times {
		t, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("a container noted the time %q: %w", text, err)
		}
		if i > 0 {
			gaps = append(gaps, t-last)
		}
		last = t
	}
	return gaps, nil
}
