package bridge

import (
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// podLink is the name of a pod's link within it.
const podLink = "eth0"

// hostLinkPrefix is what the names of pods' links on the node begin with.
const hostLinkPrefix = "pod"

// hostLink is the name of the other end: 48 bits of the pod's id, which is random.
func hostLink(pod string) string { return hostLinkPrefix + pod[:12] }

// hardwareAddress is made of the IPv4 address (or the tail of the IPv6 one), so that whoever has it in a neighbour table is right about the next pod with the address, too.
func hardwareAddress(addresses []netip.Addr) net.HardwareAddr {
	raw := addresses[0].AsSlice()
	return append(net.HardwareAddr{0x0a, 0x58}, raw[len(raw)-4:]...)
}

// newVeth makes the pair: one end down in the pod's namespace, the other down as a port of the bridge.
func newVeth(pod string, mac net.HardwareAddr, mtu, bridge int, netns *os.File) step {
	r := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	r.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	r.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, text(hostLink(pod))))
	r.AddData(nl.NewRtAttr(unix.IFLA_MTU, u32(mtu)))
	r.AddData(nl.NewRtAttr(unix.IFLA_MASTER, u32(bridge)))
	// Else each end has a queue for every processor that the machine could have, and each queue its directories in sysfs.
	r.AddData(nl.NewRtAttr(unix.IFLA_NUM_TX_QUEUES, u32(1)))
	r.AddData(nl.NewRtAttr(unix.IFLA_NUM_RX_QUEUES, u32(1)))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, text("veth"))
	peer := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	nl.NewIfInfomsgChild(peer, unix.AF_UNSPEC)
	peer.AddRtAttr(unix.IFLA_IFNAME, text(podLink))
	peer.AddRtAttr(unix.IFLA_MTU, u32(mtu))
	peer.AddRtAttr(unix.IFLA_ADDRESS, mac)
	peer.AddRtAttr(unix.IFLA_NUM_TX_QUEUES, u32(1))
	peer.AddRtAttr(unix.IFLA_NUM_RX_QUEUES, u32(1))
	peer.AddRtAttr(unix.IFLA_NET_NS_FD, u32(int(netns.Fd())))
	r.AddData(info)
	return step{"make a veth pair " + hostLink(pod) + " and " + podLink, r}
}

// portUp switches the bridge's port on. Hairpin lets a packet leave by the port it came from: where bridged packets pass the
// node's rules (bridge-nf-call-iptables), one that a pod sends to its own host port comes back before it was ever routed.
func portUp(pod string) step {
	r := nl.NewNetlinkRequest(unix.RTM_NEWLINK, 0)
	m := nl.NewIfInfomsg(unix.AF_UNSPEC)
	m.Flags, m.Change = unix.IFF_UP, unix.IFF_UP
	r.AddData(m)
	r.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, text(hostLink(pod))))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_SLAVE_KIND, text("bridge"))
	info.AddRtAttr(nl.IFLA_INFO_SLAVE_DATA, nil).AddRtAttr(nl.IFLA_BRPORT_MODE, []byte{1})
	r.AddData(info)
	return step{"switch on " + hostLink(pod), r}
}

// enslave makes the pod's link a port of the bridge.
func enslave(pod string, bridge int) step {
	r := nl.NewNetlinkRequest(unix.RTM_NEWLINK, 0)
	r.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	r.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, text(hostLink(pod))))
	r.AddData(nl.NewRtAttr(unix.IFLA_MASTER, u32(bridge)))
	return step{"make " + hostLink(pod) + " a port of the bridge", r}
}

func podLinkUp(index int) step {
	r := nl.NewNetlinkRequest(unix.RTM_NEWLINK, 0)
	m := nl.NewIfInfomsg(unix.AF_UNSPEC)
	m.Index, m.Flags, m.Change = int32(index), unix.IFF_UP, unix.IFF_UP
	r.AddData(m)
	return step{"switch on the pod's " + podLink, r}
}

func deleteLink(name string) step {
	r := nl.NewNetlinkRequest(unix.RTM_DELLINK, 0)
	r.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	r.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, text(name)))
	return step{"delete " + name, r}
}

func family(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func addAddress(link int, a netip.Prefix) step {
	r := nl.NewNetlinkRequest(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	m := nl.NewIfAddrmsg(family(a.Addr()))
	m.Prefixlen, m.Index = uint8(a.Bits()), uint32(link)
	r.AddData(m)
	raw := a.Addr().AsSlice()
	r.AddData(nl.NewRtAttr(unix.IFA_LOCAL, raw))
	r.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, raw))
	if a.Addr().Is6() {
		r.AddData(nl.NewRtAttr(unix.IFA_FLAGS, u32(unix.IFA_F_NODAD)))
	}
	return step{fmt.Sprintf("add address %s", a), r}
}

func defaultRoute(link int, gateway netip.Addr) step {
	r := nl.NewNetlinkRequest(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	m := nl.NewRtMsg()
	m.Family = uint8(family(gateway))
	r.AddData(m)
	r.AddData(nl.NewRtAttr(unix.RTA_GATEWAY, gateway.AsSlice()))
	r.AddData(nl.NewRtAttr(unix.RTA_OIF, u32(link)))
	return step{fmt.Sprintf("add the default route by %s", gateway), r}
}
