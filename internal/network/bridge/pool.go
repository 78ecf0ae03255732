package bridge

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
)

// ErrExhausted says that no address of a subnet is free.
var ErrExhausted = errors.New("no free address")

// pool gives out the addresses of one subnet, each as late as possible after it was last in use: somebody may still send to it, or have it in a table.
//
// First come those that nobody has had, round and round from the one that was given out last; then those given back, the oldest first. The pool
// remembers mostReturned of these, in order; a subnet with more addresses has the others among those that nobody has had.
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
	// returned are those given back, in that order; file remembers them over a restart, number is that of its newest record.
	returned returnedQueue
	file     *os.File
	number   uint64
}

func newPool(subnet netip.Prefix) *pool {
	p := &pool{subnet: subnet, gateway: subnet.Addr().Next(), taken: map[netip.Addr]string{}}
	p.last = p.gateway
	bits := p.hostBits()
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
	p.returned = newReturnedQueue(min(p.capacity, mostReturned))
	return p
}

// remembers says whether the order in which addresses were given back matters: of a subnet with more addresses than pods ever come, none is given out twice.
func (p *pool) remembers() bool { return p.hostBits() <= offsetBits }

func (p *pool) hostBits() int { return p.subnet.Addr().BitLen() - p.subnet.Bits() }

// usable says whether the address is one that a pod may have.
func (p *pool) usable(a netip.Addr) bool {
	return p.subnet.Contains(a) && a != p.subnet.Addr() && a != p.gateway && a != p.broadcast
}

// take gives the pod an address.
func (p *pool) take(pod string) (netip.Addr, error) {
	if len(p.taken) >= p.capacity {
		return netip.Addr{}, fmt.Errorf("%w in %s: all %d are leased", ErrExhausted, p.subnet, p.capacity)
	}
	if len(p.taken)+p.returned.len() >= p.capacity {
		a := p.returned.pop()
		p.taken[a] = pod
		return a, nil
	}
	for a := p.last.Next(); ; a = a.Next() {
		if !p.subnet.Contains(a) {
			a = p.gateway
			continue
		}
		if _, taken := p.taken[a]; taken || p.returned.has(a) || !p.usable(a) {
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
	if p.taken[a] != pod {
		return
	}
	delete(p.taken, a)
	if p.remembers() {
		p.returned.push(a)
	}
}
