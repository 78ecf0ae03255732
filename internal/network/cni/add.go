package cni

import (
	"context"
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
	if err := n.turns.Acquire(ctx, 1); err != nil {
		n.forget(e)
		return nil, fmt.Errorf("wait for a turn to run CNI plugins, of which %d chains run already, or a GC: %w", abreast, err)
	}
	defer n.turns.Release(1)
	n.mu.Lock()
	a := e.rec
	n.mu.Unlock()
	// From here on something may have to be taken back.
	err = n.use(conf)
	if err == nil {
		err = n.records.save(&a)
	}
	if err != nil {
		n.forget(e)
		return nil, err
	}
	c := &chain{n: n, verb: "ADD", conf: conf, a: &a, netns: a.NetNS, limit: n.cfg.Timeout}
	err = c.within(ctx, func(ctx context.Context) (err error) {
		a.Result, err = c.add(ctx)
		return err
	})
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

// forget drops an entry for which no plugin was run.
func (n *Network) forget(e *entry) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.mu.pods, e.rec.Pod)
}

func (n *Network) podCIDRs() []netip.Prefix {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.mu.cidrs)
}
