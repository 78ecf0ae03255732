package bridge

import (
	"net"

	"github.com/vishvananda/netlink"
)

// Bounds of an MTU in bytes: what IPv6 needs (RFC 8200), and what an IP packet can have. defaultMTU is for a node without a default route.
const (
	leastMTU, mostMTU = 1280, 65535
	defaultMTU        = 1500
)

// faraway are addresses to which the way is the default route, and the kernel looks it up at once where a list of routes may have a million entries. Nothing is sent there. Of each
// family the first is one of documentation (RFC 5737, RFC 3849), which nobody has. A node that keeps to lists of bogons may lead such nowhere: the second is that of
// a.root-servers.net.
var faraway = []net.IP{
	net.IPv4(198, 51, 100, 1), net.IPv4(198, 41, 0, 4),
	net.ParseIP("2001:db8:ffff:ffff::1"), net.ParseIP("2001:503:ba3e::2:30"),
}

// followUplink has the bridge, and pods from now on, take the MTU of the node's uplink: packets of more would be cut or lost behind it (clouds' and
// tunnels' links have less than 1500), of less cost throughput. Pods that are there keep what they have; towards the outside the kernel tells them what fits.
func (n *Network) followUplink() {
	mtu, link := n.cfg.MTU, ""
	if mtu == 0 {
		mtu, link = n.uplinkMTU()
	}
	n.mu.Lock()
	was := n.mu.mtu
	n.mu.mtu = mtu
	n.mu.Unlock()
	if was != 0 && was != mtu {
		n.cfg.Log.Info("the MTU by which packets leave the node has changed: pods from now on have the new one", "link", link, "before", was, "now", mtu)
	}
}

// uplinkMTU gives the MTU of the default route, IPv4's if there is one, else IPv6's, and the link it leads to.
func (n *Network) uplinkMTU() (mtu int, link string) {
	for _, far := range faraway {
		routes, err := netlink.RouteGet(far)
		if err != nil || len(routes) == 0 {
			continue // as a rule ENETUNREACH: no such route; IPv6's that lead nowhere are lo's
		}
		by, err := netlink.LinkByIndex(routes[0].LinkIndex)
		if err != nil || by.Attrs().Name == n.cfg.Bridge || by.Attrs().Flags&net.FlagLoopback != 0 {
			continue
		}
		mtu := by.Attrs().MTU
		if routes[0].MTU > 0 {
			mtu = min(mtu, routes[0].MTU)
		}
		return min(max(mtu, leastMTU), mostMTU), by.Attrs().Name
	}
	return defaultMTU, ""
}

// mtu is that of the bridge and of pods to come, in bytes.
func (n *Network) mtu() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.mtu
}
