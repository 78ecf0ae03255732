package cni

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Add adds a pod to the network. What one that fails or is cancelled has done so far is for Leave to take back, which the caller calls in any case.
func (n *Network) Add(ctx context.Context, p Pod) (*Result, error) {
	conf, err := n.ready()
	if err != nil {
		return nil, err
	}
	e, err := n.intend(conf, &p)
	if err != nil {
		return nil, err
	}
	n.warnOfPorts(conf, &p)
	n.mu.Lock()
	a := e.rec
	n.mu.Unlock()
	if err := n.getReady(ctx, &a, &p); err != nil {
		return nil, errors.Join(err, n.forget(e))
	}
	defer n.turns.Release(1)
	// Without the first plugin nothing runs, and the network isn't used.
	if _, missing := n.find(conf.list.Plugins[0].Network.Type); missing == nil {
		if err := n.use(conf); err != nil {
			return nil, errors.Join(err, n.forget(e))
		}
	}
	c := &chain{n: n, verb: "ADD", conf: conf, a: &a, netns: a.NetNS, limit: n.cfg.Timeout}
	err = c.within(ctx, func(ctx context.Context) (err error) {
		a.Result, err = c.add(ctx)
		if err != nil && !c.started && ctx.Err() == nil {
			return unready{err}
		}
		return err
	})
	if err != nil && !c.started {
		// There is nothing to take back, and a DEL would fail as the ADD did for as long as the plugin isn't there.
		return nil, errors.Join(err, n.forget(e))
	}
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	e.rec.Result = a.Result
	n.mu.Unlock()
	if err := n.records.saveResult(&a); err != nil {
		return nil, err
	}
	result, err := readResult(conf.list.Name, a.Result)
	if err != nil {
		return nil, fmt.Errorf("the result of %s can't be used: %w: %.500q", conf.file, err, a.Result)
	}
	return result, nil
}

// intend makes the attachment's entry.
func (n *Network) intend(conf *conf, p *Pod) (*entry, error) {
	args, err := p.arguments()
	if err != nil {
		return nil, err
	}
	capabilities, err := p.capabilities(n.podCIDRs())
	if err != nil {
		return nil, err
	}
	e := &entry{rec: attachment{
		Pod: p.ID, NetNS: p.NetNS, File: conf.file, Conf: conf.text, Args: args, Capabilities: capabilities, Began: time.Now(),
	}}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.pods[p.ID] != nil {
		return nil, fmt.Errorf("%w: pod %s has a CNI attachment already", ErrInvalid, p.ID)
	}
	n.mu.pods[p.ID] = e
	return e, nil
}

// getReady writes the attachment's record, after which there may be something to take back, and waits for the pod's namespace and for a turn.
func (n *Network) getReady(ctx context.Context, a *attachment, p *Pod) error {
	if err := n.records.save(a); err != nil {
		return err
	}
	if p.Pinned != nil {
		if err := p.Pinned(ctx); err != nil {
			return err
		}
	}
	if err := n.turns.Acquire(ctx, 1); err != nil {
		return fmt.Errorf("wait for a turn to run CNI plugins, of which %d chains run already, or a GC: %w", abreast, err)
	}
	return nil
}

// warnOfPorts says once of a configuration that host ports may lead nowhere. That is no error: some networks map them without a plugin that says so
// (Cilium).
func (n *Network) warnOfPorts(conf *conf, p *Pod) {
	if len(p.Ports) == 0 || conf.has(capPorts) {
		return
	}
	n.mu.Lock()
	said := n.mu.warned[conf.file]
	n.mu.warned[conf.file] = true
	n.mu.Unlock()
	if !said {
		n.cfg.Log.Warn("a pod asks for a host port, and no plugin of the CNI configuration declares the capability portMappings: unless the network maps it by other means, nothing listens there",
			"file", conf.file, "pod", p.Namespace+"/"+p.Name, "port", p.Ports[0].HostPort)
	}
}

// forget drops an entry for which no plugin was started, and its record. Where that fails, both are left for Leave.
func (n *Network) forget(e *entry) error {
	if err := n.records.drop(e.rec.Pod); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.mu.pods, e.rec.Pod)
	return nil
}

func (n *Network) podCIDRs() []netip.Prefix {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.mu.cidrs)
}
