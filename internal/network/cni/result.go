package cni

import (
	"fmt"
	"net"
	"net/netip"

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
	result := &Result{Network: network}
	for _, i := range r.Interfaces {
		if i != nil && i.Name == ifName && i.Sandbox != "" {
			result.MAC = i.Mac
		}
	}
	for _, c := range r.IPs {
		if c == nil || !ofPod(r, c) {
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
	if len(result.IPs) == 0 {
		return nil, fmt.Errorf("it has no address for %s: does the configuration lack an \"ipam\"?", ifName)
	}
	return result, nil
}

// ofPod says whether an address is that of the pod's eth0: the interface it names is, or it names none.
func ofPod(r *types100.Result, c *types100.IPConfig) bool {
	if c.Interface == nil {
		return true
	}
	i := *c.Interface
	return i >= 0 && i < len(r.Interfaces) && r.Interfaces[i] != nil && r.Interfaces[i].Name == ifName && r.Interfaces[i].Sandbox != ""
}

func address(ip net.IP) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(ip)
	return a.Unmap(), ok
}
