package bridge

import "net/netip"

// mostReturned bounds how many addresses a pool remembers as given back, and so its memory: a megabyte or two.
const mostReturned = 1 << 16

// returnedQueue is a queue of addresses, each of which is in it once. The oldest is dropped for one too many.
type returnedQueue struct {
	most int
	// ring holds the addresses, from first on.
	ring  []netip.Addr
	first int
	in    map[netip.Addr]bool
}

func newReturnedQueue(most int) returnedQueue {
	return returnedQueue{most: most, in: map[netip.Addr]bool{}}
}

func (q *returnedQueue) len() int { return len(q.in) }

func (q *returnedQueue) has(a netip.Addr) bool { return q.in[a] }

func (q *returnedQueue) push(a netip.Addr) {
	if q.in[a] {
		return
	}
	q.in[a] = true
	q.ring = append(q.ring, a)
	if q.len() > q.most {
		q.pop()
	}
}

// pop takes the oldest, which is there.
func (q *returnedQueue) pop() netip.Addr {
	a := q.ring[q.first]
	q.first++
	delete(q.in, a)
	if q.first > len(q.ring)/2 {
		q.ring = append([]netip.Addr(nil), q.ring[q.first:]...)
		q.first = 0
	}
	return a
}
