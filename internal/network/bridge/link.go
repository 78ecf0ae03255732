package bridge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ownerMark stands in the bridge's alias before the directory, so that no other podlet's, and no other program's bridge, is taken for this one's.
const ownerMark = "podlet "

func (n *Network) ownerMark() string { return ownerMark + n.cfg.Dir }

// ensureBridge makes the bridge, or puts right the one that is there, and gives its index.
func (n *Network) ensureBridge() (int, error) {
	name := n.cfg.Bridge
	link, err := netlink.LinkByName(name)
	_, absent := errors.AsType[netlink.LinkNotFoundError](err)
	if err != nil && !absent {
		return 0, fmt.Errorf("look for the bridge %s: %w", name, err)
	}
	if absent {
		if err := n.noOverlap(n.pools(), 0); err != nil {
			return 0, err
		}
		if link, err = n.makeBridge(); err != nil {
			return 0, fmt.Errorf("make the bridge %s: %w", name, err)
		}
	}
	if unmarkedBridge(link) || n.abandoned(link) {
		if link, err = n.mark(link); err != nil {
			return 0, fmt.Errorf("mark the bridge %s: %w", name, err)
		}
	}
	if link.Type() != "bridge" || link.Attrs().Alias != n.ownerMark() {
		return 0, fmt.Errorf("there is a link %s that is not of this podlet (%s, alias %q, not %q): choose another name for this podlet's bridge, or delete that link with `ip link delete %s` if no pods are on it",
			name, link.Type(), link.Attrs().Alias, n.ownerMark(), name)
	}
	// Before it is up.
	if err := write(conf6, n.bridgeV6()); err != nil {
		return 0, err
	}
	if n.v4 != nil {
		if err := write(conf4, []setting{{name + "/route_localnet", "1"}}); err != nil {
			return 0, err
		}
	}
	if mtu := n.mtu(); link.Attrs().MTU != mtu {
		if err := netlink.LinkSetMTU(link, mtu); err != nil {
			return 0, fmt.Errorf("set the MTU of %s to %d: %w", name, mtu, err)
		}
	}
	if err := n.bridgeAddresses(link); err != nil {
		return 0, err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return 0, fmt.Errorf("switch on %s: %w", name, err)
	}
	return link.Attrs().Index, nil
}

// abandoned says whether the link is a bridge without ports that a podlet made whose directory is gone: nobody will come back for it.
func (n *Network) abandoned(link netlink.Link) bool {
	dir, podlets := strings.CutPrefix(link.Attrs().Alias, ownerMark)
	if !podlets || link.Type() != "bridge" {
		return false
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	all, err := listLinks()
	return err == nil && !slices.ContainsFunc(all, func(l netlink.Link) bool { return l.Attrs().MasterIndex == link.Attrs().Index })
}

func (n *Network) bridgeV6() []setting {
	if n.v6 == nil {
		return noV6(n.cfg.Bridge)
	}
	return append(quietV6(n.cfg.Bridge), setting{n.cfg.Bridge + "/disable_ipv6", "0"})
}

func (n *Network) makeBridge() (netlink.Link, error) {
	// Without a hardware address of its own, a bridge takes the lowest of its ports', and changes it as pods come and go.
	mac := hardwareAddress(n.gateways())
	link := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: n.cfg.Bridge, MTU: n.mtu(), HardwareAddr: mac}}
	if err := netlink.LinkAdd(link); err != nil {
		return nil, err
	}
	return netlink.LinkByName(n.cfg.Bridge)
}

// mark makes the bridge this podlet's.
func (n *Network) mark(link netlink.Link) (netlink.Link, error) {
	if err := netlink.LinkSetAlias(link, n.ownerMark()); err != nil {
		return nil, err
	}
	return netlink.LinkByName(n.cfg.Bridge)
}

// bridgeAddresses gives the bridge the gateways' addresses and takes others away, which an earlier configuration gave it.
func (n *Network) bridgeAddresses(link netlink.Link) error {
	want := map[netip.Prefix]bool{}
	for _, p := range n.pools() {
		want[netip.PrefixFrom(p.gateway, p.subnet.Bits())] = true
	}
	have, err := listAddresses(link)
	if err != nil {
		return fmt.Errorf("list the addresses of %s: %w", n.cfg.Bridge, err)
	}
	for _, a := range have {
		p := toPrefix(a.IPNet)
		if want[p] {
			delete(want, p)
		} else if a.Scope == unix.RT_SCOPE_UNIVERSE {
			if err := netlink.AddrDel(link, &a); err != nil {
				return fmt.Errorf("delete the address %s of %s: %w", p, n.cfg.Bridge, err)
			}
		}
	}
	sock, err := openRoute()
	if err != nil {
		return err
	}
	defer sock.close()
	if err := n.noOverlap(slices.DeleteFunc(n.pools(), func(p *pool) bool { return !want[netip.PrefixFrom(p.gateway, p.subnet.Bits())] }), link.Attrs().Index); err != nil {
		return err
	}
	for p := range want {
		if err := sock.do(addAddress(link.Attrs().Index, p)); err != nil {
			return fmt.Errorf("bridge %s: %w", n.cfg.Bridge, err)
		}
	}
	return nil
}

// nodeAddresses gives the node's own addresses.
func nodeAddresses() (map[netip.Addr]bool, error) {
	all, err := listAddresses(nil)
	if err != nil {
		return nil, fmt.Errorf("list the node's addresses: %w", err)
	}
	set := map[netip.Addr]bool{}
	for _, a := range all {
		set[toPrefix(a.IPNet).Addr()] = true
	}
	return set, nil
}

func toPrefix(n *net.IPNet) netip.Prefix {
	a, _ := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), ones)
}

// operUp is IF_OPER_UP of linux/if.h.
const operUp = 6

// readLinkState reads name and operational state (RFC 2863) from a message about a link; nil if it has none.
func readLinkState(data []byte) (name string, state *byte) {
	if len(data) < unix.SizeofIfInfomsg {
		return "", nil
	}
	for rest := data[unix.SizeofIfInfomsg:]; len(rest) >= unix.SizeofRtAttr; {
		size, kind := int(binary.NativeEndian.Uint16(rest)), binary.NativeEndian.Uint16(rest[2:])
		if size < unix.SizeofRtAttr || size > len(rest) {
			break
		}
		value := rest[unix.SizeofRtAttr:size]
		switch {
		case kind == unix.IFLA_IFNAME:
			name = unix.ByteSliceToString(value)
		case kind == unix.IFLA_OPERSTATE && len(value) > 0:
			state = &value[0]
		}
		rest = rest[min(len(rest), (size+3)&^3):]
	}
	return name, state
}
