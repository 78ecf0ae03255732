package bridge

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/nftables"
)

// How long another look at the chains waits: droppingPause, and droppingShare times what the last one took, which is 0.1 s among kube-proxy's of ten thousand services.
const (
	droppingPause = 10 * time.Second
	droppingShare = 1000
)

// dropping is what was last seen of other programs' chains that drop forwarded packets by policy, as Docker's FORWARD. Guarded by Network.check.
type dropping struct {
	next   time.Time
	chains []string
	// socket is another than the table's, so that no pod waits for a long look.
	socket rulesSocket
}

// warnOfDropping warns of each such chain, once, and again if it was gone meanwhile. It's no error: the chain's rules may accept what is the pods', which can't be told
// from outside.
func (n *Network) warnOfDropping() {
	d := &n.check.dropping
	began := time.Now()
	if began.Before(d.next) {
		return
	}
	var all []*nftables.Chain
	err := d.socket.with(func(c *nftables.Conn) (err error) {
		all, err = c.ListChains()
		return err
	})
	d.next = time.Now().Add(max(droppingPause, droppingShare*time.Since(began)))
	if err != nil {
		n.cfg.Log.Warn("other programs' nftables chains can't be looked at: one that drops what is the pods' would not be told of", "error", err)
		return
	}
	before := d.chains
	d.chains = nil
	for _, c := range all {
		if !n.dropsForwarded(c) {
			continue
		}
		name := fmt.Sprintf("%s %s %s", familyName(c.Table.Family), c.Table.Name, c.Name)
		d.chains = append(d.chains, name)
		if !slices.Contains(before, name) {
			n.cfg.Log.Warn("an nftables chain of another program drops forwarded packets: unless its rules accept what comes and goes by the pods' bridge, pods don't reach the outside, nor clients their host ports",
				"chain", name, "bridge", n.cfg.Bridge, "remedy", n.acceptIn(c, all))
		}
	}
}

// dropsForwarded says whether the chain drops forwarded packets of the network's families by policy.
func (n *Network) dropsForwarded(c *nftables.Chain) bool {
	if c.Table == nil || c.Hooknum == nil || *c.Hooknum != *nftables.ChainHookForward || c.Policy == nil || *c.Policy != nftables.ChainPolicyDrop {
		return false
	}
	switch c.Table.Family {
	case nftables.TableFamilyIPv4:
		return n.v4 != nil
	case nftables.TableFamilyIPv6:
		return n.v6 != nil
	}
	return c.Table.Family == nftables.TableFamilyINet
}

// familyName is the name as nft(8) has it.
func familyName(f nftables.TableFamily) string {
	switch f {
	case nftables.TableFamilyIPv4:
		return "ip"
	case nftables.TableFamilyIPv6:
		return "ip6"
	}
	return "inet"
}

// acceptIn gives commands that have the chain accept what is the pods'. iptables' own get them by iptables, which doesn't take to nft's; Docker makes its rules in FORWARD anew, and keeps off
// DOCKER-USER.
func (n *Network) acceptIn(c *nftables.Chain, all []*nftables.Chain) string {
	family, table := familyName(c.Table.Family), c.Table.Name
	if table != "filter" || c.Name != "FORWARD" || family == "inet" {
		insert := fmt.Sprintf("nft insert rule %s %s %s", family, table, c.Name)
		return fmt.Sprintf("%s iifname %s accept; %s oifname %s accept", insert, n.cfg.Bridge, insert, n.cfg.Bridge)
	}
	name := c.Name
	if slices.ContainsFunc(all, func(o *nftables.Chain) bool { return o.Name == "DOCKER-USER" && *o.Table == *c.Table }) {
		name = "DOCKER-USER"
	}
	insert := map[string]string{"ip": "iptables", "ip6": "ip6tables"}[family] + " -I " + name
	return fmt.Sprintf("%s -i %s -j ACCEPT; %s -o %s -j ACCEPT", insert, n.cfg.Bridge, insert, n.cfg.Bridge)
}
