package cni

import (
	"context"
	"fmt"
	"time"
)

// status is what plugins said of the configuration.
type status struct {
	err error // nil: they can add pods
	// told is closed when an answer is there.
	told chan struct{}
}

// askStatus runs STATUS when the configuration changes and from time to time, so that nobody who wants to know waits for a plugin.
func (n *Network) askStatus() {
	every := time.NewTicker(n.cfg.statusEvery)
	defer every.Stop()
	for {
		n.statusOnce()
		select {
		case <-n.ask:
		case <-every.C:
		case <-n.life.Done():
			return
		}
	}
}

func (n *Network) statusOnce() {
	conf, err := n.ready()
	if err != nil || !conf.atLeast("1.1.0") {
		return
	}
	if n.complete(conf) != nil {
		return // Check says so
	}
	c := &chain{n: n, verb: "STATUS", conf: conf, limit: n.cfg.statusTime}
	err = c.within(n.life, c.each)
	if n.life.Err() != nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.conf != conf {
		return // another one is to be asked already
	}
	n.mu.status.err = err
	select {
	case <-n.mu.status.told:
	default:
		close(n.mu.status.told)
	}
}

// Check says whether pods can be added. It runs no plugin; where none has been asked yet it waits for the first answer, as long as ctx.
func (n *Network) Check(ctx context.Context) error {
	conf, err := n.ready()
	if err != nil {
		return err
	}
	if err := n.complete(conf); err != nil {
		return err
	}
	if !conf.atLeast("1.1.0") {
		return nil
	}
	n.mu.Lock()
	told := n.mu.status.told
	n.mu.Unlock()
	select {
	case <-told:
	case <-ctx.Done():
		return fmt.Errorf("%w: the plugins of %s have not answered a CNI STATUS yet", ErrNotReady, conf.file)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.status.err != nil {
		return fmt.Errorf("%w: %w", ErrNotReady, n.mu.status.err)
	}
	return nil
}

// complete says whether all plugins are there. When one has come back that was missing, what waited for it is tried.
func (n *Network) complete(conf *conf) error {
	var missing error
	for _, p := range conf.list.Plugins {
		if _, err := n.find(p.Network.Type); err != nil {
			missing = fmt.Errorf("%w: CNI configuration %s: %w", ErrNotReady, conf.file, err)
			break
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if missing == nil && n.mu.lacking {
		n.mu.rushed = true
		poke(n.owing)
		poke(n.ask)
	}
	n.mu.lacking = missing != nil
	return missing
}
