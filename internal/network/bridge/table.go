package bridge

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// The chains' priorities. Those of the NAT chains are ten behind dstnat and srcnat, where kube-proxy and iptables have theirs: for a
// port that both a service and a pod have, the service wins, as the first chain that translates a connection ends the search
// (CVE-2019-9946).
const (
	dstNATPriority = -100 + 10
	srcNATPriority = 100 + 10
	rawPriority    = -300
)

// rules is the network's nftables table as it ought to be. Printed as nft(8) has it, for one subnet:
//
//	table inet podlet_BRIDGE {
//	  map hostport4 { type inet_proto . inet_service : ipv4_addr . inet_service }
//	  map hostip4   { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service }
//	  chain raw { type filter hook prerouting priority -300
//	    iifname BRIDGE ip daddr 127.0.0.0/8 drop
//	    iifname BRIDGE ip saddr 127.0.0.0/8 drop }
//	  chain prerouting { type nat hook prerouting priority -90
//	    ip daddr != 127.0.0.0/8 fib daddr type local dnat ip to ip daddr . meta l4proto . th dport map @hostip4
//	    ip daddr != 127.0.0.0/8 fib daddr type local dnat ip to meta l4proto . th dport map @hostport4 }
//	  chain output { type nat hook output priority -90
//	    fib daddr type local dnat ip to …  (the same two) }
//	  chain postrouting { type nat hook postrouting priority 110
//	    oifname BRIDGE ip saddr 127.0.0.0/8 masquerade
//	    oifname BRIDGE ip saddr SUBNET ct status dnat masquerade
//	    ip saddr SUBNET ip daddr NOMASQUERADE return
//	    ip saddr SUBNET ip daddr != 224.0.0.0/4 oifname != BRIDGE masquerade fully-random } }
//
// raw answers route_localnet, which the bridge has so that the answers to a client on 127.0.0.1 find home: without these two rules
// a pod could talk to what listens on the node's loopback address (CVE-2020-8558). What comes for 127.0.0.1 from any wire is not
// translated, and the kernel drops it.
//
// A pod that talks to its own host port, or to that of another pod on the bridge, is masqueraded, else the answer would go past the node.
type rules struct {
	name   string
	bridge string
	v4, v6 netip.Prefix
	direct []netip.Prefix
	rulesSocket
}

// rulesSocket talks to nftables. The zero value is ready, to be closed after use.
type rulesSocket struct {
	// conn is kept, since closing a socket of this kind waits until the kernel has let go of all that was ever deleted from the
	// rules, a grace period. Nil before the first use and after an error, which may leave answers on it unread.
	conn *nftables.Conn
}

// with lets do use the connection; what it queued is sent and must succeed.
func (r *rulesSocket) with(do func(*nftables.Conn) error) error {
	if r.conn == nil {
		c, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(roomForAll))
		if err != nil {
			return fmt.Errorf("open a netlink socket for nftables: %w", err)
		}
		r.conn = c
	}
	err := do(r.conn)
	if err == nil {
		err = r.conn.Flush()
	}
	if err != nil {
		r.close()
	}
	return err
}

// sendRoom and receiveRoom bound in bytes what the socket holds. A transaction is one message to the kernel, and with all of a node's host ports in
// it (every port, of three protocols and two families) some 40 MB; the answers are one for elementsAtOnce of them. Usual are 200 kB, which some thousand
// ports don't fit.
const sendRoom, receiveRoom = 64 << 20, 8 << 20

func roomForAll(c *netlink.Conn) error {
	return errors.Join(c.SetWriteBuffer(sendRoom), c.SetReadBuffer(receiveRoom))
}

func (r *rulesSocket) close() error {
	c := r.conn
	if c == nil {
		return nil
	}
	r.conn = nil
	return c.CloseLasting()
}

type familyRules struct {
	proto            byte
	subnet           netip.Prefix
	loopback         netip.Prefix
	multicast        netip.Prefix
	saddr, daddr     uint32 // offsets in the header
	hostPort, hostIP *nftables.Set
}

// families lists those that the network has. The sets' ids count within one transaction only.
func (r *rules) families(t *nftables.Table) []*familyRules {
	var list []*familyRules
	if r.v4.IsValid() {
		list = append(list, &familyRules{
			proto: unix.NFPROTO_IPV4, subnet: r.v4, saddr: 12, daddr: 16,
			loopback: netip.MustParsePrefix("127.0.0.0/8"), multicast: netip.MustParsePrefix("224.0.0.0/4"),
			hostPort: natMap(t, "hostport4", 1, nftables.TypeIPAddr), hostIP: natMap(t, "hostip4", 2, nftables.TypeIPAddr, nftables.TypeIPAddr),
		})
	}
	if r.v6.IsValid() {
		list = append(list, &familyRules{
			proto: unix.NFPROTO_IPV6, subnet: r.v6, saddr: 8, daddr: 24,
			loopback: netip.MustParsePrefix("::1/128"), multicast: netip.MustParsePrefix("ff00::/8"),
			hostPort: natMap(t, "hostport6", 3, nftables.TypeIP6Addr), hostIP: natMap(t, "hostip6", 4, nftables.TypeIP6Addr, nftables.TypeIP6Addr),
		})
	}
	return list
}

func natMap(t *nftables.Table, name string, id uint32, address nftables.SetDatatype, prefix ...nftables.SetDatatype) *nftables.Set {
	return &nftables.Set{
		Table: t, Name: name, ID: id, IsMap: true, Concatenation: true,
		KeyType:  nftables.MustConcatSetType(append(prefix, nftables.TypeInetProto, nftables.TypeInetService)...),
		DataType: nftables.MustConcatSetType(address, nftables.TypeInetService),
	}
}

func (r *rules) table() *nftables.Table {
	return &nftables.Table{Family: nftables.TableFamilyINet, Name: r.name}
}

// chain is a base chain with its rules.
type chain struct {
	name     string
	kind     nftables.ChainType
	hook     *nftables.ChainHook
	priority int32
	rules    [][]expr.Any
}

func (r *rules) chains(families []*familyRules) []chain {
	raw := chain{"raw", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, rawPriority, nil}
	pre := chain{"prerouting", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, dstNATPriority, nil}
	out := chain{"output", nftables.ChainTypeNAT, nftables.ChainHookOutput, dstNATPriority, nil}
	post := chain{"postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, srcNATPriority, nil}
	drop, leave := &expr.Verdict{Kind: expr.VerdictDrop}, &expr.Verdict{Kind: expr.VerdictReturn}
	for _, f := range families {
		is4 := f.proto == unix.NFPROTO_IPV4
		fromBridge := f.rule(ifname(expr.MetaKeyIIFNAME, r.bridge, expr.CmpOpEq))
		toBridge := f.rule(ifname(expr.MetaKeyOIFNAME, r.bridge, expr.CmpOpEq))
		notLoopback := f.rule(inPrefix(f.daddr, f.loopback, expr.CmpOpNeq))
		anyLocal := f.rule()
		if is4 {
			raw.rules = append(raw.rules, join(fromBridge, inPrefix(f.daddr, f.loopback, expr.CmpOpEq), one(drop)))
			raw.rules = append(raw.rules, join(fromBridge, inPrefix(f.saddr, f.loopback, expr.CmpOpEq), one(drop)))
			post.rules = append(post.rules, join(toBridge, inPrefix(f.saddr, f.loopback, expr.CmpOpEq), one(&expr.Masq{})))
		} else {
			// ::1 can't be forwarded: its clients are to be refused at once.
			anyLocal = notLoopback
		}
		for _, viaMap := range [][]expr.Any{f.toPod(f.hostIP, true), f.toPod(f.hostPort, false)} {
			pre.rules = append(pre.rules, join(notLoopback, local, viaMap))
			out.rules = append(out.rules, join(anyLocal, local, viaMap))
		}
		fromPod := inPrefix(f.saddr, f.subnet, expr.CmpOpEq)
		post.rules = append(post.rules, join(toBridge, fromPod, translated, one(&expr.Masq{})))
		for _, p := range r.direct {
			if p.Addr().Is4() == is4 {
				post.rules = append(post.rules, join(f.rule(), fromPod, inPrefix(f.daddr, p, expr.CmpOpEq), one(leave)))
			}
		}
		post.rules = append(post.rules, join(f.rule(ifname(expr.MetaKeyOIFNAME, r.bridge, expr.CmpOpNeq)), fromPod,
			inPrefix(f.daddr, f.multicast, expr.CmpOpNeq), one(&expr.Masq{FullyRandom: true})))
	}
	return []chain{raw, pre, out, post}
}

// replace puts the table in place of what there is of its name, with the ports of all leases, in one transaction.
func (r *rules) replace(leases []*lease) error {
	err := r.with(func(c *nftables.Conn) error { return r.queueTable(c, leases) })
	if err != nil {
		return fmt.Errorf("write nftables table %s: %w (podlet needs nftables with NAT, maps and fib in the kernel: CONFIG_NF_TABLES_INET, NFT_NAT, NFT_MASQ, NFT_FIB_INET)", r.name, err)
	}
	return nil
}

func (r *rules) queueTable(c *nftables.Conn, leases []*lease) error {
	t := r.table()
	// Deleting what is absent fails the transaction; so it is added first.
	c.AddTable(t)
	c.DelTable(t)
	c.AddTable(t)
	families := r.families(t)
	for _, f := range families {
		for _, s := range []*nftables.Set{f.hostIP, f.hostPort} {
			if err := c.AddSet(s, nil); err != nil {
				return fmt.Errorf("map %s: %w", s.Name, err)
			}
		}
	}
	for _, ch := range r.chains(families) {
		made := c.AddChain(&nftables.Chain{
			Name: ch.name, Table: t, Type: ch.kind, Hooknum: ch.hook, Priority: nftables.ChainPriorityRef(nftables.ChainPriority(ch.priority)),
		})
		for _, exprs := range ch.rules {
			c.AddRule(&nftables.Rule{Table: t, Chain: made, Exprs: exprs})
		}
	}
	// Of all pods together: were it a message for each, the kernel's answers would not fit the socket.
	return change(c.SetAddElements, families, leases...)
}

// remove takes the table away.
func (r *rules) remove() error {
	err := r.with(func(c *nftables.Conn) error {
		c.AddTable(r.table())
		c.DelTable(r.table())
		return nil
	})
	if err != nil {
		return fmt.Errorf("delete nftables table %s: %w", r.name, err)
	}
	return nil
}

// missing says what of the table is not there, or is too much; "" if all is as it ought to be.
func (r *rules) missing(leases []*lease) (what string, err error) {
	err = r.with(func(c *nftables.Conn) error {
		if what, err = r.missingRules(c); err == nil && what == "" {
			what, err = r.missingPorts(c, leases)
		}
		return err
	})
	if errors.Is(err, unix.ENOENT) {
		return "a part of nftables table " + r.name, nil
	}
	if err != nil {
		return "", fmt.Errorf("read nftables table %s: %w", r.name, err)
	}
	return what, nil
}

func (r *rules) missingRules(c *nftables.Conn) (string, error) {
	t := r.table()
	for _, ch := range r.chains(r.families(t)) {
		found, err := c.GetRules(t, &nftables.Chain{Name: ch.name, Table: t})
		if err != nil {
			return "", err
		}
		if len(found) != len(ch.rules) {
			return fmt.Sprintf("chain %s of nftables table %s", ch.name, r.name), nil
		}
	}
	return "", nil
}

func (r *rules) missingPorts(c *nftables.Conn, leases []*lease) (string, error) {
	families := r.families(r.table())
	want := map[string]int{}
	count := func(s *nftables.Set, elements []nftables.SetElement) error {
		want[s.Name] += len(elements)
		return nil
	}
	if err := change(count, families, leases...); err != nil {
		return "", err
	}
	for _, f := range families {
		for _, s := range []*nftables.Set{f.hostIP, f.hostPort} {
			found, err := c.GetSetElements(s)
			if err != nil {
				return "", err
			}
			if len(found) != want[s.Name] {
				return fmt.Sprintf("map %s of nftables table %s", s.Name, r.name), nil
			}
		}
	}
	return "", nil
}

// addPorts and deletePorts change the maps for one pod, in one transaction.
func (r *rules) addPorts(l *lease) error {
	return r.changePorts(l, "add", (*nftables.Conn).SetAddElements)
}

func (r *rules) deletePorts(l *lease) error {
	return r.changePorts(l, "delete", (*nftables.Conn).SetDeleteElements)
}

func (r *rules) changePorts(l *lease, verb string, do func(*nftables.Conn, *nftables.Set, []nftables.SetElement) error) error {
	err := r.with(func(c *nftables.Conn) error {
		return change(func(s *nftables.Set, e []nftables.SetElement) error { return do(c, s, e) }, r.families(r.table()), l)
	})
	if err != nil {
		return fmt.Errorf("%s the host ports of pod %s in nftables table %s: %w", verb, l.pod, r.name, err)
	}
	return nil
}

// elementsAtOnce keeps a message's nested attribute below its 64 KiB.
const elementsAtOnce = 256

// change hands the leases' elements of each map to do, in pieces that fit a message.
func change(do func(*nftables.Set, []nftables.SetElement) error, families []*familyRules, leases ...*lease) error {
	for _, f := range families {
		elements := f.elements(leases)
		for _, s := range []*nftables.Set{f.hostIP, f.hostPort} {
			for piece := range slices.Chunk(elements[s], elementsAtOnce) {
				if err := do(s, piece); err != nil {
					return fmt.Errorf("map %s: %w", s.Name, err)
				}
			}
		}
	}
	return nil
}

// elements gives what the leases' host ports are in the family's maps. What a pod has twice (checkPorts) is one element: deleting it twice would fail.
func (f *familyRules) elements(leases []*lease) map[*nftables.Set][]nftables.SetElement {
	elements := map[*nftables.Set][]nftables.SetElement{}
	have := map[string]bool{} // by keys, which are longer in hostIP
	for _, l := range leases {
		pod := l.v4
		if f.proto == unix.NFPROTO_IPV6 {
			pod = l.v6
		}
		for _, m := range l.ports {
			if !m.serves(pod) {
				continue
			}
			key := append([]byte{byte(m.Protocol), 0, 0, 0}, port(m.HostPort)...)
			into := f.hostPort
			if !m.everywhere() {
				key, into = append(m.HostIP.AsSlice(), key...), f.hostIP
			}
			if have[string(key)] {
				continue
			}
			have[string(key)] = true
			elements[into] = append(elements[into], nftables.SetElement{Key: key, Val: append(pod.AsSlice(), port(m.PodPort)...)})
		}
	}
	return elements
}

// port is a port as a register of nftables holds it.
func port(p uint16) []byte { return []byte{byte(p >> 8), byte(p), 0, 0} }
