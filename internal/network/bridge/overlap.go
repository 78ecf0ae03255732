package bridge

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// reach is a range of addresses that the node reaches by another link than the bridge.
type reach struct {
	netip.Prefix
	// what it is, for messages.
	what string
	// route: it is no address of the node's own, but a route.
	route bool
}

// noOverlap refuses pools that the node has another way to already: it would be cut off from what lives there, or the pods from it. own is the
// bridge's number, 0 if there is none yet.
//
// A route to more than the subnet, as to a company's 10.0.0.0/8, is none of these: the subnet was chosen from it.
func (n *Network) noOverlap(pools []*pool, own int) error {
	if len(pools) == 0 {
		return nil
	}
	others, err := otherReaches(own)
	if err != nil {
		return err
	}
	for _, p := range pools {
		for _, o := range others {
			if o.against(p) {
				return fmt.Errorf("the pods' subnet %s overlaps with %s: choose another subnet", p.subnet, o.what)
			}
		}
	}
	return nil
}

// warnOfOverlap tells of what noOverlap would refuse, were pods not on the bridge already, and of routes to more than a subnet.
func (n *Network) warnOfOverlap(own int) error {
	others, err := otherReaches(own)
	if err != nil {
		return err
	}
	for _, p := range n.pools() {
		for _, o := range others {
			if o.Overlaps(p.subnet) {
				n.cfg.Log.Warn("the pods' subnet takes addresses from another network of the node, or the other way round", "subnet", p.subnet, "other", o.what)
			}
		}
	}
	return nil
}

func (r reach) against(p *pool) bool {
	return r.Overlaps(p.subnet) && (!r.route || r.Bits() >= p.subnet.Bits())
}

// otherReaches lists what the node reaches by other links than the bridge, but for default routes.
func otherReaches(own int) ([]reach, error) {
	links, err := listLinks()
	if err != nil {
		return nil, fmt.Errorf("list the node's links: %w", err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	addresses, err := listAddresses(nil)
	if err != nil {
		return nil, fmt.Errorf("list the node's addresses: %w", err)
	}
	var list []reach
	for _, a := range addresses {
		if p := toPrefix(a.IPNet); a.LinkIndex != own && p.Bits() > 0 {
			list = append(list, reach{p.Masked(), fmt.Sprintf("the address %s of link %s", p, names[a.LinkIndex]), false})
		}
	}
	routes, err := listRoutes()
	if err != nil {
		return nil, fmt.Errorf("list the node's routes: %w", err)
	}
	for _, r := range routes {
		if r.Dst == nil || r.LinkIndex == own && own != 0 || r.Type == unix.RTN_MULTICAST {
			continue
		}
		if p := toPrefix(r.Dst); p.Bits() > 0 {
			list = append(list, reach{p, fmt.Sprintf("the route to %s by link %q", p, names[r.LinkIndex]), true})
		}
	}
	return list, nil
}
