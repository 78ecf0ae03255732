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
	return unplug(pod)
}

// cutStrays deletes the links on the bridge of pods that have no lease and are not in use: those whose namespace is held, where podlet ended before
// cutLater was done.
func (n *Network) cutStrays(inUse []string) error {
	links, err := listLinks()
	if err != nil {
		return fmt.Errorf("list the node's links: %w", err)
	}
	known := map[string]bool{}
	for _, pod := range inUse {
		if validPod(pod) {
			known[hostLink(pod)] = true
		}
	}
	for _, l := range n.list() {
		known[hostLink(l.pod)] = true
	}
	n.mu.Lock()
	bridge := n.mu.index
	n.mu.Unlock()
	var errs []error
	for _, link := range links {
		a := link.Attrs()
		pod, ours := strings.CutPrefix(a.Name, hostLinkPrefix)
		if a.MasterIndex != bridge || !ours || !validPod(pod) || known[a.Name] {
			continue
		}
		if err := unplug(pod); err != nil {
			errs = append(errs, fmt.Errorf("delete the link %s of a pod that is gone: %w", a.Name, err))
		}
	}
	return errors.Join(errs...)
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
		former := rules{name: tablePrefix + name}
		if err := errors.Join(former.remove(), former.close()); err != nil {
			return err
		}
		if err := netlink.LinkDel(link); err != nil {
			return fmt.Errorf("delete the former bridge %s: %w", name, err)
		}
	}
	return nil
}
