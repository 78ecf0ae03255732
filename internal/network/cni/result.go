package cni

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"
)

// Result is what a pod has got.
type Result struct {
	// Network is the name of the network.
	Network string
	// IPs are the pod's addresses on eth0 in the plugins' order, Gateways those of its next hops.
	IPs, Gateways []netip.Addr
	// MAC is the hardware address of eth0; empty where the plugins don't tell.
	MAC string
}

// readResult reads what ADD gave, of any version of the spec.
func readResult(network string, text []byte) (*Result, error) {
	any, err := create.CreateFromBytes(text)
	if err != nil {
		return nil, err
	}
	// The oldest form knows no interfaces; this one has all that the others have.
	r, err := types100.GetResult(any)
	if err != nil {
		return nil, err
	}
	own := ownInterfaces(r.Interfaces)
	result := &Result{Network: network}
	for _, i := range own {
		result.MAC = r.Interfaces[i].Mac
	}
	var others []string
	for _, c := range r.IPs {
		if c == nil {
			continue
		}
		// Without interfaces an index means nothing.
		if c.Interface != nil && len(r.Interfaces) > 0 && !slices.Contains(own, *c.Interface) {
			others = append(others, interfaceName(r.Interfaces, *c.Interface))
			continue
		}
		ip, ok := address(c.Address.IP)
		if !ok {
			return nil, fmt.Errorf("%q is no address", c.Address.IP)
		}
		result.IPs = append(result.IPs, ip)
		if gateway, ok := address(c.Gateway); ok {
			result.Gateways = append(result.Gateways, gateway)
		}
	}
	if len(result.IPs) == 0 && len(others) > 0 {
		return nil, fmt.Errorf("it has no address for %s, only for %s", ifName, strings.Join(others, ", "))
	}
	if len(result.IPs) == 0 {
		return nil, fmt.Errorf("it has no address for %s: does the configuration lack an \"ipam\"?", ifName)
	}
	return result, nil
}

// ownInterfaces are those that are the pod's eth0, by their place: the ones in a sandbox; where none of that name is in one, as of plugins that don't tell,
// all of the name.
func ownInterfaces(list []*types100.Interface) []int {
	var within, named []int
	for i, link := range list {
		if link == nil || link.Name != ifName {
			continue
		}
		named = append(named, i)
		if link.Sandbox != "" {
			within = append(within, i)
		}
	}
	if len(within) > 0 {
		return within
	}
	return named
}

// interfaceName is that of one which is not the pod's eth0.
func interfaceName(list []*types100.Interface, i int) string {
	switch {
	case i < 0 || i >= len(list) || list[i] == nil:
		return fmt.Sprintf("interface %d, of which it tells nothing", i)
	case list[i].Sandbox == "":
		return fmt.Sprintf("%q without a sandbox", list[i].Name)
	}
	return fmt.Sprintf("%q", list[i].Name)
}

func address(ip net.IP) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(ip)
	return a.Unmap(), ok
}
