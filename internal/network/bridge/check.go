package bridge

import (
	"context"
	"errors"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Check looks whether all that Open made is still there, since other programs of the node flush rules, switch forwarding off and
// delete links. What is missing is made anew, pods' links put back on the bridge, and that is logged. A change of the uplink's MTU is followed. Of chains that may drop
// what is the pods' the log warns. An error says what could not be put right.
func (n *Network) Check(ctx context.Context) error {
	n.check.Lock()
	defer n.check.Unlock()
	n.followUplink()
	var errs []error
	if err := n.checkBridge(); err != nil {
		errs = append(errs, err)
	}
	if err := ctx.Err(); err != nil {
		return errors.Join(append(errs, err)...)
	}
	n.warnOfDropping()
	return errors.Join(append(errs, n.ensureForwarding(), n.checkRules())...)
}

// checkBridge is called with check held.
func (n *Network) checkBridge() error {
	index, err := n.ensureBridge()
	if err != nil {
		return err
	}
	n.mu.Lock()
	was := n.mu.index
	n.mu.index = index
	n.mu.Unlock()
	if index != was {
		n.cfg.Log.Warn("the pods' bridge was gone and is made anew", "bridge", n.cfg.Bridge)
		n.check.loose = true
	}
	if !n.check.loose {
		return nil
	}
	if err := n.attachPods(); err != nil {
		return err
	}
	n.check.loose = false
	return nil
}

func (n *Network) checkRules() error {
	n.table.Lock()
	defer n.table.Unlock()
	missing, err := n.table.missing(n.withOpenPorts())
	if err != nil || missing == "" {
		return err
	}
	n.cfg.Log.Warn("the pod network's rules were incomplete and are made anew", "missing", missing)
	return n.table.replace(n.withOpenPorts())
}

// replaceRules makes the whole table anew.
func (n *Network) replaceRules() error {
	n.table.Lock()
	defer n.table.Unlock()
	return n.table.replace(n.withOpenPorts())
}

// withOpenPorts lists the leases whose host ports are to be in the rules.
func (n *Network) withOpenPorts() []*lease {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []*lease
	for _, l := range n.mu.pods {
		if l.portsOpen {
			list = append(list, l)
		}
	}
	return list
}

// setPorts says whether the lease's host ports are to be in the rules. The caller holds table, and changes them next.
func (n *Network) setPorts(l *lease, open bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l.portsOpen = open
}

// unmarkedBridge says whether the link is a bridge that is down and bears nobody's mark, as one over whose making podlet died.
func unmarkedBridge(link netlink.Link) bool {
	a := link.Attrs()
	return link.Type() == "bridge" && a.Alias == "" && a.RawFlags&unix.IFF_UP == 0
}
