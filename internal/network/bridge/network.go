package bridge

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
)

// Network is the pod network of one podlet. Its methods are safe for concurrent use.
type Network struct {
	cfg    Config
	leases leaseDir
	// lock is the locked file that keeps a second podlet out of the directory.
	lock *os.File
	// cursor is the file with the addresses given out last.
	cursor *os.File
	// tracked is the kernel's table of connections.
	tracked *tracker
	// work are the goroutines that forget tracked connections and delete links that stay; Close waits for them, closing tells them.
	work    sync.WaitGroup
	closing chan struct{}
	// check is held by the one Check at a time.
	check struct {
		sync.Mutex
		loose    bool // pods' links may be on no bridge, or on another
		dropping dropping
	}
	// v4 and v6 are nil where the network has no such subnet. Which addresses they have given out is guarded by mu.
	v4, v6 *pool
	// table is held while the rules change, from the look at the leases on.
	table struct {
		sync.Mutex
		rules
	}
	mu struct {
		sync.Mutex
		index int // the bridge's number
		mtu   int // of the bridge and of pods to come
		pods  map[string]*lease
		ports portTable
	}
}

// ErrInUse says that another podlet has the directory.
var ErrInUse = errors.New("in use by another podlet")

// Open makes the bridge, the rules and what else the node needs, or takes over what an earlier podlet made: pods go on talking
// meanwhile. The calling process is in the node's network namespace. Call Recover next.
func Open(cfg Config) (_ *Network, err error) {
	if !filepath.IsAbs(cfg.Dir) {
		return nil, fmt.Errorf("the pod network's directory %q is not absolute", cfg.Dir)
	}
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	v4, v6, err := cfg.families()
	if err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	n := &Network{cfg: cfg, leases: leaseDir(filepath.Join(cfg.Dir, leasesDir)), closing: make(chan struct{})}
	n.table.rules = rules{name: tablePrefix + cfg.Bridge, bridge: cfg.Bridge, v4: v4, v6: v6, direct: cfg.NoMasquerade}
	n.mu.pods, n.mu.ports = map[string]*lease{}, portTable{}
	if v4.IsValid() {
		n.v4 = newPool(v4)
	}
	if v6.IsValid() {
		if !haveV6() {
			return nil, fmt.Errorf("the pod network has the IPv6 subnet %s, and the kernel has no IPv6", v6)
		}
		n.v6 = newPool(v6)
	}
	defer func() {
		if err != nil {
			n.Close()
		}
	}()
	if n.tracked, err = openTracker(); err != nil {
		return nil, err
	}
	if err := n.openDir(); err != nil {
		return nil, err
	}
	if err := n.loadLeases(); err != nil {
		return nil, err
	}
	if err := n.openPools(); err != nil {
		return nil, err
	}
	if err := n.dropFormer(); err != nil {
		return nil, err
	}
	n.followUplink()
	if n.mu.index, err = n.ensureBridge(); err != nil {
		return nil, err
	}
	// Now that it is this podlet's own, and before the rules are.
	if err := n.noteBridge(); err != nil {
		return nil, err
	}
	if err := n.warnOfOverlap(n.mu.index); err != nil {
		return nil, err
	}
	if err := n.ensureForwarding(); err != nil {
		return nil, err
	}
	if err := n.replaceRules(); err != nil {
		return nil, err
	}
	if err := n.attachPods(); err != nil {
		n.check.loose = true
		cfg.Log.Error("pods are cut off", "error", err)
	}
	n.warnOfDropping()
	for _, l := range n.list() {
		n.forgetLater(l)
	}
	return n, nil
}

// tablePrefix is what the names of podlets' nftables tables begin with.
const tablePrefix = "podlet_"

func (n *Network) loadLeases() error {
	leases, damaged, err := n.leases.load()
	if err != nil {
		return err
	}
	for _, d := range damaged {
		n.cfg.Log.Error("a lease of the pod network is damaged: its host ports and limits are lost, its addresses are held until its pod goes", "lease", d)
	}
	for _, l := range leases {
		if other := n.mu.pods[l.pod]; other != nil {
			n.cfg.Log.Error("a pod has two leases; what the second says of ports is not in force, and its addresses are held until another start", "pod", l.pod, "first", other.fileName(), "second", l.fileName())
		}
		for _, a := range l.addresses() {
			if p := n.poolOf(a); p == nil || !p.claim(a, l.pod) {
				n.cfg.Log.Warn("a pod has an address that is not of the pod network as it is configured now, or that another has too", "pod", l.pod, "address", a)
			}
		}
		if n.mu.pods[l.pod] != nil {
			continue
		}
		if err := n.mu.ports.claim(l.pod, l.ports); err != nil {
			n.cfg.Log.Error("a pod loses its host ports", "pod", l.pod, "error", err)
			l.ports = nil
		}
		l.portsOpen = true
		n.mu.pods[l.pod] = l
	}
	return nil
}

// Close lets go of the directory. Bridge, rules, leases and the node's switches stay, as the pods go on. No other
// method may be under way or be called afterwards.
func (n *Network) Close() error {
	close(n.closing)
	n.work.Wait()
	n.table.Lock()
	errs := []error{n.table.rules.close()}
	n.table.Unlock()
	errs = append(errs, n.check.dropping.socket.close())
	if n.tracked != nil {
		n.tracked.close()
		n.tracked = nil
	}
	errs = append(errs, n.closePools())
	if n.lock != nil {
		errs = append(errs, n.lock.Close())
	}
	return errors.Join(errs...)
}

// pools lists those that the network has, IPv4 first.
func (n *Network) pools() []*pool {
	var list []*pool
	for _, p := range []*pool{n.v4, n.v6} {
		if p != nil {
			list = append(list, p)
		}
	}
	return list
}

// poolOf gives the pool of the address's family and subnet; nil if there is none.
func (n *Network) poolOf(a netip.Addr) *pool {
	for _, p := range n.pools() {
		if p.subnet.Contains(a) {
			return p
		}
	}
	return nil
}

func (n *Network) gateways() []netip.Addr {
	var list []netip.Addr
	for _, p := range n.pools() {
		list = append(list, p.gateway)
	}
	return list
}

// list gives all leases.
func (n *Network) list() []*lease {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := make([]*lease, 0, len(n.mu.pods))
	for _, l := range n.mu.pods {
		list = append(list, l)
	}
	return list
}
