package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// talks: logs and statistics through the kubelet.
func (s *site) talks(ctx context.Context, p *page) error {
	var whole string
	s.holds(ctx, p, "the app's log comes through the kubelet's API, both streams", func() (err error) {
		// The streams are two pipes: their order is not defined.
		whole, err = s.kubelet.logs(ctx, "web", "app", "")
		for _, line := range []string{"made by init\n", "a complaint\n", fmt.Sprintf("listening on 127.0.0.1:%d\n", s.port)} {
			if err == nil && !strings.Contains(whole, line) {
				err = fmt.Errorf("the log is %q: want %q in it", whole, line)
			}
		}
		return err
	})
	s.holds(ctx, p, "its last line, with a timestamp, too", func() error {
		text, err := s.kubelet.logs(ctx, "web", "app", "?tailLines=1&timestamps=true")
		if err != nil {
			return err
		}
		stamp, line, _ := strings.Cut(text, " ")
		if _, err := time.Parse(time.RFC3339Nano, stamp); err != nil || !strings.HasSuffix(whole, line) || strings.Count(text, "\n") != 1 {
			return fmt.Errorf("the line is %q", text)
		}
		return nil
	})
	s.holds(ctx, p, "the kubelet's summary has the app's memory and CPU time", func() error {
		text, err := s.kubelet.get(ctx, s.kubelet.api+"/stats/summary")
		if err != nil {
			return err
		}
		return appUsage(text)
	})
	return nil
}

func appUsage(summary string) error {
	var seen struct {
		Pods []struct {
			PodRef     struct{ Name string }
			Containers []struct {
				Name   string
				CPU    struct{ UsageCoreNanoSeconds uint64 }
				Memory struct{ WorkingSetBytes uint64 }
			}
		}
	}
	if err := json.Unmarshal([]byte(summary), &seen); err != nil {
		return err
	}
	for _, pod := range seen.Pods {
		for _, c := range pod.Containers {
			if pod.PodRef.Name == "web-"+nodeName && c.Name == "app" && c.CPU.UsageCoreNanoSeconds > 0 && c.Memory.WorkingSetBytes > 0 {
				return nil
			}
		}
	}
	return fmt.Errorf("no usage of web's app in %d bytes about %d pods", len(summary), len(seen.Pods))
}
