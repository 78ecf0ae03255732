package registry

import "net/netip"

// addressClass says whom an address leads to.
type addressClass int

const (
	classPublic addressClass = iota + 1
	classPrivate
	classLoopback
	classLinkLocal // with the metadata services of clouds, which give out credentials
	classNone      // unspecified, multicast: nobody a registry could mean
)

func (c addressClass) String() string {
	return map[addressClass]string{
		classPublic: "public", classPrivate: "private", classLoopback: "loopback", classLinkLocal: "link-local or metadata", classNone: "unusable",
	}[c]
}

var (
	carrierNAT = netip.MustParsePrefix("100.64.0.0/10")
	nat64      = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour  = netip.MustParsePrefix("2002::/16")
	thisNet    = netip.MustParsePrefix("0.0.0.0/8")
	// metadata services outside the link-local ranges: Alibaba, Azure, AWS and Google over IPv6.
	metadata = []netip.Addr{
		netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("168.63.129.16"), netip.MustParseAddr("fd00:ec2::254"),
		netip.MustParseAddr("fd00:ec2::23"), netip.MustParseAddr("fd20:ce::254"),
	}
)

// classOf looks through IPv6 addresses that stand for an IPv4 one.
func classOf(a netip.Addr) addressClass {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		b := a.As16()
		switch {
		case nat64.Contains(a):
			a = netip.AddrFrom4([4]byte(b[12:16]))
		case sixToFour.Contains(a):
			a = netip.AddrFrom4([4]byte(b[2:6]))
		}
	}
	for _, m := range metadata {
		if a == m {
			return classLinkLocal
		}
	}
	switch {
	case !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || thisNet.Contains(a):
		return classNone
	case a.IsLoopback():
		return classLoopback
	case a.IsLinkLocalUnicast():
		return classLinkLocal
	case a.IsPrivate() || carrierNAT.Contains(a):
		return classPrivate
	}
	return classPublic
}
