package bridge

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// strayTime is how long a removed pod's link may stay before it is deleted. As a rule it has gone with its namespace long before, at no cost.
const strayTime = time.Second

// cutLater deletes the link of a removed pod if it is still there after a while: somebody may hold the pod's namespace by a file or a mount of his
// own, such as a container with the node's /run in it. The namespace would answer for ever to addresses that another pod gets one day.
func (n *Network) cutLater(pod string) {
	n.work.Go(func() {
		select {
		case <-time.After(strayTime):
		case <-n.closing:
			return // the next podlet's Recover sees to it
		}
		if err := n.cut(pod); err != nil {
			n.cfg.Log.Error("the link of a removed pod can't be deleted; if its namespace is still there, it answers to addresses that others may get", "link", hostLink(pod), "error", err)
		}
	})
}

func (n *Network) cut(pod string) error {
	n.mu.Lock()
	again := n.mu.pods[pod] != nil
	n.mu.Unlock()
	if again {
		return nil
	}
	return n.unplug(pod)
}

// cutStrays deletes the links on the bridge, and the devices of limits, of pods that have no lease and are not in use: those whose namespace is held, where
// podlet ended before cutLater was done.
func (n *Network) cutStrays(inUse []string) error {
	links, err := listLinks()
	if err != nil {
		return fmt.Errorf("list the node's links: %w", err)
	}
	known := map[string]bool{}
	for _, pod := range inUse {
		if validPod(pod) {
			known[hostLink(pod)], known[ifbLink(pod)] = true, true
		}
	}
	for _, l := range n.list() {
		known[hostLink(l.pod)], known[ifbLink(l.pod)] = true, true
	}
	n.mu.Lock()
	bridge := n.mu.index
	n.mu.Unlock()
	var errs []error
	for _, link := range links {
		name := link.Attrs().Name
		if known[name] || !isHostLink(link, bridge) && !n.isIfb(link) {
			continue
		}
		if err := deleteLinks(name); err != nil {
			errs = append(errs, fmt.Errorf("delete the link %s of a pod that is gone: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// isHostLink says whether the link is a pod's, on the bridge of the number.
func isHostLink(link netlink.Link, bridge int) bool {
	pod, ours := strings.CutPrefix(link.Attrs().Name, hostLinkPrefix)
	return ours && link.Attrs().MasterIndex == bridge && validPod(pod)
}

// isIfb says whether the link is the device of a limit of this network's.
func (n *Network) isIfb(link netlink.Link) bool {
	return link.Type() == "ifb" && link.Attrs().Alias == n.ownerMark()
}

// attachPods puts pods' links that are not on the bridge there: somebody deleted it, or podlet was given another name for it.
func (n *Network) attachPods() error {
	n.mu.Lock()
	bridge := n.mu.index
	n.mu.Unlock()
	links, err := listLinks()
	if err != nil {
		return fmt.Errorf("list the node's links: %w", err)
	}
	sock, err := openRoute()
	if err != nil {
		return err
	}
	defer sock.close()
	loose := map[string]bool{}
	for _, link := range links {
		loose[link.Attrs().Name] = link.Attrs().MasterIndex != bridge
	}
	var errs []error
	for _, l := range n.list() {
		if !loose[hostLink(l.pod)] {
			continue
		}
		// ENODEV: the link has gone with its pod.
		if err := sock.do(enslave(l.pod, bridge), portUp(l.pod)); err != nil && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, fmt.Errorf("put the link of pod %s back on its bridge: %w", l.pod, err))
		}
	}
	return errors.Join(errs...)
}

// dropFormer takes away the bridges that this podlet had by other names, and their rules, which would go on for host ports of pods that are long gone.
func (n *Network) dropFormer() error {
	links, err := listLinks()
	if err != nil {
		return fmt.Errorf("list the node's links: %w", err)
	}
	for _, link := range links {
		name := link.Attrs().Name
		if link.Type() != "bridge" || link.Attrs().Alias != n.ownerMark() || name == n.cfg.Bridge {
			continue
		}
		n.cfg.Log.Warn("the pods' bridge has another name than before: pods are put on the new one", "before", name, "now", n.cfg.Bridge)
		// The bridge first, for the reason that TakeDown has: if podlet ends in between, lostBridge finds the rules.
		if err := netlink.LinkDel(link); err != nil {
			return fmt.Errorf("delete the former bridge %s: %w", name, err)
		}
		if err := removeTable(name); err != nil {
			return err
		}
	}
	lost, err := lostBridge(n.cfg.Dir)
	if err != nil || lost == "" || lost == n.cfg.Bridge {
		return err
	}
	return removeTable(lost)
}

// removeTable takes away the rules of a bridge.
func removeTable(bridge string) error {
	r := rules{name: tablePrefix + bridge}
	return errors.Join(r.remove(), r.close())
}
