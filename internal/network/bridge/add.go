package bridge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Want is what a pod wants besides addresses.
type Want struct {
	// Ports of the node that lead to the pod; each may be one pod's only.
	Ports  []PortMapping
	Limits Limits
}

// Result is what a pod has got.
type Result struct {
	// IPs are the pod's addresses, IPv4 first.
	IPs []netip.Addr
	// Gateways are the bridge's, in the same order.
	Gateways []netip.Addr
	// MAC is the hardware address of the pod's eth0.
	MAC net.HardwareAddr
	// HostLink is the name of the node's end of the pod's link.
	HostLink string
}

// Add puts a pod into the network: eth0 in its namespace, with addresses and default routes, its host ports and limits. When it
// returns, the pod can talk and be talked to. netns waits for the namespace, which stays the caller's: the lease is on disk before. podID has at least 12 hexadecimal digits in lower case; the
// first 12 tell it from all others.
//
// An Add that fails or is cancelled leaves nothing. Errors besides those of the kernel: ErrInvalid, ErrExhausted, ErrPortTaken, and netns's own.
func (n *Network) Add(ctx context.Context, podID string, netns func(context.Context) (*os.File, error), want Want) (_ Result, err error) {
	l, err := n.grant(podID, want)
	if err != nil {
		return Result{}, fmt.Errorf("give pod %s its network: %w", podID, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("give pod %s its network: %w", podID, errors.Join(err, n.revoke(l)))
		}
		<-l.turn
	}()
	if err := n.leases.save(l); err != nil {
		return Result{}, err
	}
	n.writeCursor()
	ns, err := netns(ctx)
	if err != nil {
		return Result{}, err
	}
	mac := hardwareAddress(l.addresses())
	if err := n.plug(l, ns, mac); err != nil {
		return Result{}, err
	}
	if err := n.openPorts(l); err != nil {
		return Result{}, errors.Join(err, n.closePorts(l), n.unplug(l.pod))
	}
	if err := ctx.Err(); err != nil {
		return Result{}, errors.Join(err, n.closePorts(l), n.unplug(l.pod))
	}
	return n.result(l, mac), nil
}

func (n *Network) result(l *lease, mac net.HardwareAddr) Result {
	return Result{IPs: l.addresses(), Gateways: n.gateways(), MAC: mac, HostLink: hostLink(l.pod)}
}

// grant gives the pod addresses and ports in memory. The caller has the lease's turn.
func (n *Network) grant(pod string, want Want) (*lease, error) {
	if !validPod(pod) {
		return nil, fmt.Errorf("%.80q is no pod id: 12 to 64 hexadecimal digits in lower case", pod)
	}
	if err := n.checkPorts(want.Ports); err != nil {
		return nil, err
	}
	l := newLease(pod)
	l.ports, l.limits = slices.Clone(want.Ports), want.Limits
	l.turn <- struct{}{}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.pods[pod] != nil {
		return nil, errors.New("the pod has a lease already")
	}
	if err := n.mu.ports.claim(pod, l.ports); err != nil {
		return nil, err
	}
	for _, f := range []struct {
		pool *pool
		into *netip.Addr
	}{{n.v4, &l.v4}, {n.v6, &l.v6}} {
		if f.pool == nil {
			continue
		}
		a, err := f.pool.take(pod)
		if err != nil {
			n.freeLocked(l)
			return nil, err
		}
		*f.into = a
	}
	n.mu.pods[pod] = l
	return l, nil
}

// revoke takes the lease back: the file first, then the addresses may be given out again. The caller has the lease's turn.
func (n *Network) revoke(l *lease) error {
	n.noteReturned(l)
	if err := n.leases.drop(l); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.freeLocked(l)
	delete(n.mu.pods, l.pod)
	return nil
}

func (n *Network) freeLocked(l *lease) {
	for _, a := range l.addresses() {
		if p := n.poolOf(a); p != nil {
			p.free(a, l.pod)
		}
	}
	n.mu.ports.free(l.pod, l.ports)
}

// plug makes the pod's link and waits until it carries packets. If it fails, there is no link, nor has it touched one that was there.
func (n *Network) plug(l *lease, netns *os.File, mac net.HardwareAddr) (err error) {
	pod, err := visit(netns)
	if err != nil {
		return err
	}
	defer pod.close()
	node, err := openRoute()
	if err != nil {
		return err
	}
	defer node.close()
	n.mu.Lock()
	bridge, mtu := n.mu.index, n.mu.mtu
	n.mu.Unlock()
	if err := node.do(newVeth(l.pod, mac, mtu, bridge, netns)); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.unplug(l.pod))
		}
	}()
	if err := write(conf6, noV6(hostLink(l.pod))); err != nil {
		return err
	}
	if err := pod.route.watch(); err != nil {
		return err
	}
	index, err := pod.route.linkIndex(podLink)
	if err != nil {
		return err
	}
	if err := pod.configure(l.v6.IsValid()); err != nil {
		return err
	}
	if err := pod.route.do(n.podSteps(l, index)...); err != nil {
		return err
	}
	if err := n.limit(node, l); err != nil {
		return err
	}
	// The port comes last: a link carries packets when both ends are up, and the end that is switched on second is ready at once.
	if err := n.portUp(node, l.pod); err != nil {
		return err
	}
	if err := pod.route.awaitUp(podLink); err != nil || !l.v6.IsValid() {
		return err
	}
	return pod.route.awaitAddress(l.v6)
}

// portUp switches the bridge's port on and waits until the bridge forwards by it. With its first port the bridge itself comes up.
func (n *Network) portUp(node *routeSocket, pod string) error {
	news, err := openRoute()
	if err != nil {
		return err
	}
	defer news.close()
	if err := news.watch(); err != nil {
		return err
	}
	wait := []string{hostLink(pod)}
	if up, err := news.running(n.cfg.Bridge); err != nil {
		return err
	} else if !up {
		wait = append(wait, n.cfg.Bridge)
	}
	if err := node.do(portUp(pod)); err != nil {
		return err
	}
	return news.awaitUp(wait...)
}

// configure writes the sysctls of the pod's link, which is down yet.
func (v *visitor) configure(v6 bool) error {
	if v.conf == nil {
		return nil
	}
	if !v6 {
		return writeAt(v.conf, noV6(podLink))
	}
	return writeAt(v.conf, quietV6(podLink))
}

func (n *Network) podSteps(l *lease, link int) []step {
	var steps []step
	for _, a := range l.addresses() {
		steps = append(steps, addAddress(link, netip.PrefixFrom(a, n.poolOf(a).subnet.Bits())))
	}
	steps = append(steps, podLinkUp(link))
	for _, a := range l.addresses() {
		steps = append(steps, defaultRoute(link, n.poolOf(a).gateway))
	}
	return steps
}

// unplug deletes the pod's link and the device of its limit, each of which may be absent. It takes tens of milliseconds, so it is no part of a pod's usual end.
func (n *Network) unplug(pod string) error {
	names := []string{hostLink(pod)}
	if link, err := netlink.LinkByName(ifbLink(pod)); err == nil && n.isIfb(link) {
		names = append(names, ifbLink(pod))
	}
	return deleteLinks(names...)
}

// deleteLinks deletes links; one that is absent is success.
func deleteLinks(names ...string) error {
	sock, err := openRoute()
	if err != nil {
		return err
	}
	defer sock.close()
	var errs []error
	for _, name := range names {
		if err := sock.do(deleteLink(name)); err != nil && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// openPorts lets the rules know the pod's host ports, and the kernel forget what it tracked before they did.
func (n *Network) openPorts(l *lease) error {
	if len(l.ports) == 0 {
		return nil
	}
	n.table.Lock()
	n.setPorts(l, true)
	err := n.table.addPorts(l)
	n.table.Unlock()
	if errors.Is(err, unix.ENOENT) {
		n.cfg.Log.Warn("the pod network's rules were gone and are made anew", "table", n.table.name)
		err = n.replaceRules()
	}
	if err != nil {
		return err
	}
	n.forgetLater(l)
	return nil
}

// closePorts takes the pod's host ports from the rules, and has the kernel forget the connections that went to the pod.
func (n *Network) closePorts(l *lease) error {
	if len(l.ports) == 0 {
		return nil
	}
	n.table.Lock()
	n.setPorts(l, false)
	err := n.table.deletePorts(l)
	n.table.Unlock()
	// The table, or an element, is gone already: an Add was cut short, or somebody flushed the rules.
	if errors.Is(err, unix.ENOENT) {
		err = n.replaceRules()
	}
	return errors.Join(err, n.tracked.forgetAfter(l))
}
