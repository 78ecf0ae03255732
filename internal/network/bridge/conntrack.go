package bridge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A connection of UDP that the kernel tracks outlives the rules it was made by, for as long as the client goes on sending: a
// client that sent before a host port was there would never reach the pod, and one that goes on after the pod's end would reach
// whoever has the address next. So what is tracked is forgotten after the rules came, and after they went.
//
// The kernel filters by protocol and port what it lists (Linux 5.8), so that the table of a busy node is not copied. Its filter is
// not trusted with more: up to 6.18 at least it has IPv6 addresses the wrong way round (all but the one asked for match), ignores
// ports of SCTP, and up to 5.9 reads those of answers by the flags of requests. So the answer is looked at once more, and each
// connection is deleted by its own tuple.

// Messages, attributes and flags of linux/netfilter/nfnetlink_conntrack.h and the kernel's nf_internals.h.
const (
	ctGet    = unix.NFNL_SUBSYS_CTNETLINK<<8 | 1
	ctDelete = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2

	ctaTupleOrig, ctaTupleReply                    = 1, 2
	ctaID, ctaZone, ctaFilter                      = 12, 18, 25
	ctaTupleIP, ctaTupleProto                      = 1, 2
	ctaIPv4Src, ctaIPv4Dst, ctaIPv6Src, ctaIPv6Dst = 1, 2, 3, 4
	ctaProtoNum, ctaProtoDstPort                   = 1, 3
	ctaFilterOrig                                  = 1
	filterProtoNum, filterProtoDstPort             = 1 << 3, 1 << 5
)

// tracker talks to the kernel about tracked connections. Its socket is kept for the reason of rules.conn.
type tracker struct{ sockets map[int]*nl.SocketHandle }

func openTracker() (*tracker, error) {
	s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket for tracked connections: %w", err)
	}
	return &tracker{map[int]*nl.SocketHandle{unix.NETLINK_NETFILTER: {Socket: s}}}, nil
}

func (t *tracker) close() {
	for _, s := range t.sockets {
		s.Close()
	}
}

func (t *tracker) execute(r *nl.NetlinkRequest) ([][]byte, error) {
	r.Sockets = t.sockets
	return r.Execute(unix.NETLINK_NETFILTER, 0)
}

// tuple is one direction of a tracked connection.
type tuple struct {
	src, dst netip.Addr
	protocol Protocol
	dstPort  uint16
}

// forget forgets the connections of one family whose requests went to the mapping's host port, if drop says so of the two directions.
func (t *tracker) forget(family int, m PortMapping, drop func(request, answer tuple) bool) error {
	list := nl.NewNetlinkRequest(ctGet, unix.NLM_F_DUMP)
	list.AddData(&nl.Nfgenmsg{NfgenFamily: uint8(family), Version: unix.NFNETLINK_V0})
	want := nl.NewRtAttr(unix.NLA_F_NESTED|ctaTupleOrig, nil)
	proto := want.AddRtAttr(unix.NLA_F_NESTED|ctaTupleProto, nil)
	proto.AddRtAttr(ctaProtoNum, []byte{byte(m.Protocol)})
	proto.AddRtAttr(ctaProtoDstPort, binary.BigEndian.AppendUint16(nil, m.HostPort))
	list.AddData(want)
	filter := nl.NewRtAttr(unix.NLA_F_NESTED|ctaFilter, nil)
	filter.AddRtAttr(ctaFilterOrig, u32(filterProtoNum|filterProtoDstPort))
	list.AddData(filter)
	entries, err := t.execute(list)
	if err != nil {
		return fmt.Errorf("list the tracked connections to %s port %d: %w", m.Protocol, m.HostPort, err)
	}
	for _, e := range entries {
		if err := t.forgetEntry(family, e, m, drop); err != nil {
			return fmt.Errorf("forget a tracked connection to %s port %d: %w", m.Protocol, m.HostPort, err)
		}
	}
	return nil
}

func (t *tracker) forgetEntry(family int, entry []byte, m PortMapping, drop func(request, answer tuple) bool) error {
	if len(entry) < nl.SizeofNfgenmsg {
		return errors.New("the kernel's message is cut short")
	}
	attrs, err := attributes(entry[nl.SizeofNfgenmsg:])
	if err != nil {
		return err
	}
	request, err := parseTuple(attrs[ctaTupleOrig])
	if err != nil {
		return err
	}
	answer, err := parseTuple(attrs[ctaTupleReply])
	if err != nil {
		return err
	}
	if request.protocol != m.Protocol || request.dstPort != m.HostPort || !drop(request, answer) {
		return nil
	}
	r := nl.NewNetlinkRequest(ctDelete, unix.NLM_F_ACK)
	r.AddData(&nl.Nfgenmsg{NfgenFamily: uint8(family), Version: unix.NFNETLINK_V0})
	r.AddData(nl.NewRtAttr(unix.NLA_F_NESTED|ctaTupleOrig, attrs[ctaTupleOrig]))
	// The id tells the connection from a new one with the same tuple.
	for _, kind := range []int{ctaID, ctaZone} {
		if value := attrs[uint16(kind)]; value != nil {
			r.AddData(nl.NewRtAttr(kind, value))
		}
	}
	// ENOENT: it has ended by itself.
	if _, err := t.execute(r); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}

func parseTuple(raw []byte) (t tuple, err error) {
	parts, err := attributes(raw)
	if err != nil {
		return t, err
	}
	ip, err := attributes(parts[ctaTupleIP])
	if err != nil {
		return t, err
	}
	for kind, value := range ip {
		switch kind {
		case ctaIPv4Src, ctaIPv6Src:
			t.src, _ = netip.AddrFromSlice(value)
		case ctaIPv4Dst, ctaIPv6Dst:
			t.dst, _ = netip.AddrFromSlice(value)
		}
	}
	proto, err := attributes(parts[ctaTupleProto])
	if err != nil {
		return t, err
	}
	if v := proto[ctaProtoNum]; len(v) == 1 {
		t.protocol = Protocol(v[0])
	}
	if v := proto[ctaProtoDstPort]; len(v) == 2 {
		t.dstPort = binary.BigEndian.Uint16(v)
	}
	return t, nil
}

// attributes splits a row of netlink attributes, without the flags in their types.
func attributes(b []byte) (map[uint16][]byte, error) {
	list, err := nl.ParseRouteAttr(b)
	if err != nil {
		return nil, fmt.Errorf("read attributes of a tracked connection: %w", err)
	}
	m := map[uint16][]byte{}
	for _, a := range list {
		m[a.Attr.Type&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER)] = a.Value
	}
	return m, nil
}

// forgetBefore forgets connections to host ports that no rule of the pod's translated, since it was not there yet. TCP has none: what is
// sent to a closed port is answered with a reset.
func (n *Network) forgetBefore(l *lease) error {
	node, err := nodeAddresses()
	if err != nil {
		return err
	}
	return n.tracked.forgetAll(l, func(m PortMapping, pod netip.Addr, request, answer tuple) bool {
		return answer.src != pod && (request.dst == m.HostIP || m.everywhere() && node[request.dst])
	})
}

// forgetAfter forgets connections that were sent on to the pod. Those of TCP end by themselves when nobody answers.
func (t *tracker) forgetAfter(l *lease) error {
	return t.forgetAll(l, func(_ PortMapping, pod netip.Addr, _, answer tuple) bool { return answer.src == pod })
}

// forgetAll looks at the connections to each host port of the pod's. It takes the kernel ten milliseconds and more for each, as it walks through
// the whole of a big hash table; for both families at once it doesn't take the filter.
func (t *tracker) forgetAll(l *lease, drop func(m PortMapping, pod netip.Addr, request, answer tuple) bool) error {
	var errs []error
	for _, m := range l.ports {
		for _, pod := range l.addresses() {
			if m.Protocol == TCP || !m.serves(pod) {
				continue
			}
			errs = append(errs, t.forget(family(pod), m, func(request, answer tuple) bool { return drop(m, pod, request, answer) }))
		}
	}
	return errors.Join(errs...)
}

// tracks says whether the kernel may track connections to the lease's host ports that a change of the rules leaves as they were.
func (l *lease) tracks() bool {
	return slices.ContainsFunc(l.ports, func(m PortMapping) bool { return m.Protocol != TCP })
}

// forgetLater is forgetBefore off the caller's path. A podlet that dies before it is done does it at its next start.
func (n *Network) forgetLater(l *lease) {
	if !l.tracks() {
		return
	}
	n.work.Go(func() {
		if err := n.forgetBefore(l); err != nil {
			n.cfg.Log.Error("clients that sent to a host port before its pod was there may not reach it while they go on", "pod", l.pod, "error", err)
		}
	})
}
