package main

import (
	"fmt"
	"log/slog"
	"time"

	"podlet/internal/image"
	"podlet/internal/registry"
)

// puller makes what pulls images for serve.
func (o *options) puller(images *image.Store, log *slog.Logger) (*registry.Puller, error) {
	window, err := o.pullWindow()
	if err != nil {
		return nil, err
	}
	return registry.New(registry.Config{
		Images: images, CertsDirs: o.CertsDirs, MinRate: o.PullMinRate, Window: window, Verifiers: o.Verifiers, Agent: "podlet/" + version, Log: log,
	}), nil
}

// pullWindow is the time over which a pull has to keep up --pull-min-rate.
func (o *options) pullWindow() (time.Duration, error) {
	window, err := time.ParseDuration(o.PullWindow)
	if err != nil || window < time.Second {
		return 0, fmt.Errorf("--pull-window %q: want a duration of at least 1s, such as 5m", o.PullWindow)
	}
	if o.PullMinRate < 1 {
		return 0, fmt.Errorf("--pull-min-rate %d: want at least 1 byte a second", o.PullMinRate)
	}
	return window, nil
}
