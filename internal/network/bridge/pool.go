package bridge

import (
	"errors"
	"fmt"
	"net/netip"
)

// ErrExhausted says that no address of a subnet is free.
var ErrExhausted = errors.New("no free address")

// pool gives out the addresses of one subnet, each as late as possible after it was last in use: the next free one behind the one that was given out last, round and round.
type pool struct {
	subnet  netip.Prefix
	gateway netip.Addr
	// broadcast is IPv4's, which no pod may have.
	broadcast netip.Addr
	// capacity is the number of addresses for pods; the greatest int where there are more.
	capacity int
	last     netip.Addr
	// taken says which pod has the address.
	taken map[netip.Addr]string
}

func newPool(subnet netip.Prefix) *pool {
	p := &pool{subnet: subnet, gateway: subnet.Addr().Next(), taken: map[netip.Addr]string{}}
	p.last = p.gateway
	bits := subnet.Addr().BitLen() - subnet.Bits()
	p.capacity = int(^uint(0) >> 1)
	if bits < 62 {
		p.capacity = 1<<bits - 2
	}
	if subnet.Addr().Is4() {
		raw := subnet.Addr().As4()
		for i := range bits {
			raw[3-i/8] |= 1 << (i % 8)
		}
		p.broadcast = netip.AddrFrom4(raw)
		p.capacity--
	}
	return p
}

// usable says whether the address is one that a pod may have.
func (p *pool) usable(a netip.Addr) bool {
	return p.subnet.Contains(a) && a != p.subnet.Addr() && a != p.gateway && a != p.broadcast
}

// take gives the pod an address.
func (p *pool) take(pod string) (netip.Addr, error) {
	if len(p.taken) >= p.capacity {
		return netip.Addr{}, fmt.Errorf("%w in %s: all %d are leased", ErrExhausted, p.subnet, p.capacity)
	}
	for a := p.last.Next(); ; a = a.Next() {
		if !p.subnet.Contains(a) {
			a = p.gateway
			continue
		}
		if _, taken := p.taken[a]; taken || !p.usable(a) {
			continue
		}
		p.last = a
		p.taken[a] = pod
		return a, nil
	}
}

// claim takes the address a; false where it is taken already or is none for pods.
func (p *pool) claim(a netip.Addr, pod string) bool {
	if _, taken := p.taken[a]; taken || !p.usable(a) {
		return false
	}
	p.taken[a] = pod
	return true
}

func (p *pool) free(a netip.Addr, pod string) {
	if p.taken[a] == pod {
		delete(p.taken, a)
	}
}
