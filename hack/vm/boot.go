package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"podlet/hack/vm/machine"
)

// boot makes the payload's disk and starts a machine with it; change may alter its configuration.
func boot(ctx context.Context, o *options, work *workdir, from payload, change func(*machine.Config)) (*machine.Machine, error) {
	config, err := o.config(ctx)
	if err != nil {
		return nil, err
	}
	config.Dir, config.Payload = work.dir, work.path("payload.img")
	if change != nil {
		change(&config)
	}
	if err := os.Remove(config.Payload); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := from.disk(ctx, config.Payload); err != nil {
		return nil, err
	}
	began := time.Now()
	stop := o.progress.during("booting")
	m, err := machine.Start(ctx, config)
	stop()
	if err != nil {
		work.keepConsole(o.progress.say)
		return nil, err
	}
	if config.Mode == machine.Agent {
		o.progress.say("booted Linux %s in %.1fs", m.Ready.Kernel, time.Since(began).Seconds())
	}
	return m, nil
}
