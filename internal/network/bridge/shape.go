package bridge

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// newIfb makes a device that gives back what is sent to it as if it had been received where it came from.
func newIfb(name string, mtu int) step {
	r := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	r.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	r.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, text(name)))
	r.AddData(nl.NewRtAttr(unix.IFLA_MTU, u32(mtu)))
	r.AddData(nl.NewRtAttr(unix.IFLA_NUM_TX_QUEUES, u32(1)))
	r.AddData(nl.NewRtAttr(unix.IFLA_NUM_RX_QUEUES, u32(1)))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, text("ifb"))
	r.AddData(info)
	return step{"make the device " + name + " (ifb)", r}
}

// markLink gives a link its alias.
func markLink(name, alias string) step {
	r := nl.NewNetlinkRequest(unix.RTM_NEWLINK, 0)
	r.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	r.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, text(name)))
	r.AddData(nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(alias)))
	return step{"mark " + name, r}
}

func linkUp(name string) step {
	r := nl.NewNetlinkRequest(unix.RTM_NEWLINK, 0)
	m := nl.NewIfInfomsg(unix.AF_UNSPEC)
	m.Flags, m.Change = unix.IFF_UP, unix.IFF_UP
	r.AddData(m)
	r.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, text(name)))
	return step{"switch on " + name, r}
}

// shape puts a token bucket before what leaves by a link: tc-tbf(8).
func shape(link string, index int, b bucket) step {
	r := nl.NewNetlinkRequest(unix.RTM_NEWQDISC, unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
	r.AddData(&nl.TcMsg{Family: unix.AF_UNSPEC, Ifindex: int32(index), Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT})
	r.AddData(nl.NewRtAttr(nl.TCA_KIND, text("tbf")))
	options := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	// The rate counts as the greater of two fields, of which the newer has 64 bits. Where the link layer is told, the kernel asks for no table of times.
	parameters := nl.TcTbfQopt{Limit: b.queue, Rate: nl.TcRateSpec{Linklayer: nl.LINKLAYER_ETHERNET, Rate: uint32(min(b.rate, 1<<32-1))}}
	options.AddRtAttr(nl.TCA_TBF_PARMS, parameters.Serialize())
	options.AddRtAttr(nl.TCA_TBF_RATE64, nl.Uint64Attr(b.rate))
	options.AddRtAttr(nl.TCA_TBF_BURST, u32(int(b.burst)))
	r.AddData(options)
	return step{fmt.Sprintf("limit what leaves by %s to %d bytes per second (tc-tbf)", link, b.rate), r}
}

// turnAside sends what the link receives to the device aside.
func turnAside(link string, from int, aside string, to int) error {
	entry := &netlink.GenericQdisc{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: from, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}, QdiscType: "clsact",
	}
	if err := netlink.QdiscAdd(entry); err != nil {
		return fmt.Errorf("filter what %s receives (qdisc clsact): %w", link, err)
	}
	// Without a selector it is for all packets.
	all := &netlink.U32{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: from, Parent: netlink.HANDLE_MIN_INGRESS, Priority: 1, Protocol: unix.ETH_P_ALL}, RedirIndex: to,
	}
	if err := netlink.FilterAdd(all); err != nil {
		return fmt.Errorf("turn what %s receives aside to %s (tc-mirred): %w", link, aside, err)
	}
	return nil
}
