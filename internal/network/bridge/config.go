package bridge

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
)

// Config says what Open makes.
type Config struct {
	// Dir is the directory for leases, absolute, and for one Network alone. It should not outlive the boot (below /run);
	// what it holds from an earlier boot is void.
	Dir string
	// Bridge is the name of the bridge: a letter, then letters, digits and _, 15 bytes at most.
	Bridge string
	// Subnets are one of IPv4, one of IPv6, or one of each. The first address is the bridge's and the pods' gateway.
	// IPv4: /8 to /29; IPv6: /48 to /124.
	Subnets []netip.Prefix
	// NoMasquerade lists destinations that see pods by their own addresses, since they have a route back, besides the subnets themselves.
	NoMasquerade []netip.Prefix
	// MTU of the bridge and of pods' links in bytes, 1280 to 65535; 0 stands for that of the node's default route.
	MTU int
	// Log hears what was found amiss and put right. Nil: nobody does.
	Log *slog.Logger
}

// DefaultSubnets are what pods get on a node without other wishes: IPv6 only where it is not disabled on the node. That subnet is a private
// one (RFC 4193), of which nothing leaves the node but masqueraded.
func DefaultSubnets() []netip.Prefix {
	subnets := []netip.Prefix{netip.MustParsePrefix("10.88.0.0/16")}
	if off, err := read(conf6 + "/all/disable_ipv6"); err == nil && off == "0" {
		subnets = append(subnets, netip.MustParsePrefix("fd00:10:88::/64"))
	}
	return subnets
}

var bridgeName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,14}$`)

// Check says, all of it, what Open would refuse on any node. Dir alone is Open's to check.
func (c *Config) Check() error {
	var name, mtu error
	if !bridgeName.MatchString(c.Bridge) {
		name = fmt.Errorf("the bridge's name %q is not a letter and up to 14 letters, digits and _", c.Bridge)
	}
	if c.MTU != 0 && (c.MTU < leastMTU || c.MTU > mostMTU) {
		mtu = fmt.Errorf("the MTU %d is not within %d and %d bytes", c.MTU, leastMTU, mostMTU)
	}
	_, _, subnets := c.families()
	return errors.Join(name, mtu, subnets, c.checkDirect())
}

// families gives the subnets of each family; one that isn't wanted is the zero Prefix.
func (c *Config) families() (v4, v6 netip.Prefix, err error) {
	if len(c.Subnets) == 0 {
		return v4, v6, fmt.Errorf("the pod network has no subnet")
	}
	for _, s := range c.Subnets {
		if !s.IsValid() || s.Masked() != s || s.Addr().Is4In6() {
			return v4, v6, fmt.Errorf("the subnet %s has bits set behind its prefix, or is none", s)
		}
		into, least, most := &v6, 48, 124
		if s.Addr().Is4() {
			into, least, most = &v4, 8, 29
		}
		if s.Bits() < least || s.Bits() > most {
			return v4, v6, fmt.Errorf("the subnet %s is not within /%d and /%d", s, least, most)
		}
		if into.IsValid() {
			return v4, v6, fmt.Errorf("the subnets %s and %s are of one family; there is one of each at most", into, s)
		}
		*into = s
	}
	return v4, v6, nil
}

func (c *Config) checkDirect() error {
	for _, p := range c.NoMasquerade {
		if !p.IsValid() || p.Masked() != p || p.Addr().Is4In6() {
			return fmt.Errorf("the destination %s without masquerade has bits set behind its prefix, or is none", p)
		}
	}
	return nil
}
