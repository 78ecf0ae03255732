package cni

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// Network adds pods to the network that the node's configuration describes. Its methods are safe for concurrent use.
type Network struct {
	cfg     Config
	records records
	// turns has a weight of abreast: a chain of plugins takes one, GC all.
	turns *semaphore.Weighted
	// life ends with Close, which waits for work.
	life context.Context
	end  context.CancelFunc
	work sync.WaitGroup
	// owing wakes the queue, ask the goroutine that asks plugins for their status, collect the one of GC. Each holds one token at most.
	owing, ask, collect chan struct{}

	mu struct {
		sync.Mutex
		// conf is what was read last; nil where there is none, or where it is wrong, which wrong says then.
		conf  *conf
		wrong error
		// ever says that there was a configuration since Open.
		ever   bool
		status status
		pods   map[string]*entry
		cidrs  []netip.Prefix
		// cidrsUnnoted says that they are not in their file: a kubelet repeats what failed.
		cidrsUnnoted bool
		warned       map[string]bool // of host ports, by configuration file
		// checked has the error of a pod's CHECK, by pod; one that passed, or was not asked, is not in it.
		checked map[string]string
		// lacking says that a plugin was missing when one looked last.
		lacking bool
		// rushed says that all owed DELs are due.
		rushed    bool
		collected collected
		// left are the plugins that an earlier podlet left running, by what tells whose they are.
		left map[string][]*leftover
	}
}

// entry is an attachment in memory.
type entry struct {
	rec attachment // guarded by Network.mu
	// flight is the DEL that is under way, nil if none; guarded by Network.mu.
	flight *flight
	// next is when the queue tries again; guarded by Network.mu.
	next time.Time
}

// Open reads the configuration and the records of attachments, and begins to watch the former. Call Recover next.
func Open(cfg Config) (_ *Network, err error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	n := &Network{
		cfg: cfg, records: records(filepath.Join(cfg.Dir, "attachments")), turns: semaphore.NewWeighted(abreast),
		owing: make(chan struct{}, 1), ask: make(chan struct{}, 1), collect: make(chan struct{}, 1),
	}
	n.mu.pods, n.mu.warned, n.mu.checked = map[string]*entry{}, map[string]bool{}, map[string]string{}
	n.life, n.end = context.WithCancel(context.Background())
	if err := os.MkdirAll(string(n.records), 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of CNI attachments: %w", err)
	}
	if err := n.readCIDRs(); err != nil {
		return nil, err
	}
	list, damaged, err := n.records.load()
	if err != nil {
		return nil, err
	}
	for _, d := range damaged {
		cfg.Log.Error("the record of a CNI attachment is damaged; its DEL will use the configuration as it is now", "error", d)
	}
	for _, a := range list {
		n.mu.pods[a.Pod] = &entry{rec: *a}
	}
	n.mu.left = n.findLeft(n.unfinished())
	n.reload()
	if cfg.Retired {
		return n, nil
	}
	n.work.Go(n.guard("watch the CNI configuration", n.watch))
	n.work.Go(n.guard("ask CNI plugins for their status", n.askStatus))
	return n, nil
}

// Close ends what is under way and waits for it: plugins are killed. Records stay, as pods do. No other method may be called afterwards.
func (n *Network) Close() error {
	n.end()
	n.work.Wait()
	n.mu.Lock()
	left := n.mu.left
	n.mu.Unlock()
	for _, list := range left {
		for _, l := range list {
			l.close()
		}
	}
	return nil
}

// guard makes a goroutine's function end with a line in the log where it would have ended podlet.
func (n *Network) guard(what string, f func()) func() {
	return func() {
		defer func() {
			if p := recover(); p != nil {
				n.cfg.Log.Error("panic", "in", what, "panic", p, "stack", string(debug.Stack()))
			}
		}()
		f()
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// ready gives the configuration, or why there is none.
func (n *Network) ready() (*conf, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.mu.wrong != nil:
		return nil, fmt.Errorf("%w: %w", ErrNotReady, n.mu.wrong)
	case n.mu.conf == nil:
		return nil, fmt.Errorf("%w: there is no CNI configuration in %s: install a network plugin, which puts one there, or see --network", ErrNotReady, n.cfg.ConfDir)
	}
	return n.mu.conf, nil
}

// Configured says whether there is a configuration, right or wrong, or was one since Open.
func (n *Network) Configured() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.ever
}
