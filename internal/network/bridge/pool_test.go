package bridge

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestPool(t *testing.T) {
	for _, c := range []struct {
		subnet string
		want   []string
	}{
		{"10.0.0.0/29", []string{"10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"}},
		{"10.0.255.248/29", []string{"10.0.255.250", "10.0.255.251", "10.0.255.252", "10.0.255.253", "10.0.255.254"}},
		{"255.255.255.248/29", []string{"255.255.255.250", "255.255.255.251", "255.255.255.252", "255.255.255.253", "255.255.255.254"}},
		{"fd00::f0/124", []string{"fd00::f2", "fd00::f3", "fd00::f4", "fd00::f5", "fd00::f6", "fd00::f7", "fd00::f8", "fd00::f9", "fd00::fa", "fd00::fb", "fd00::fc", "fd00::fd", "fd00::fe", "fd00::ff"}},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff0/124", nil},
	} {
		p := newPool(netip.MustParsePrefix(c.subnet))
		var got []netip.Addr
		for range p.capacity {
			a, err := p.take("pod")
			must(t, err)
			got = append(got, a)
		}
		if _, err := p.take("pod"); !errors.Is(err, ErrExhausted) {
			t.Errorf("%s: one more than all: %v", c.subnet, err)
		}
		for i, want := range c.want {
			if len(got) != len(c.want) || got[i].String() != want {
				t.Fatalf("%s gives %v, want %v", c.subnet, got, c.want)
			}
		}
		// One that comes back is the only one free; the free of a stranger changes nothing.
		p.free(got[1], "stranger")
		if _, err := p.take("pod"); !errors.Is(err, ErrExhausted) {
			t.Errorf("%s: another pod's free gave an address back", c.subnet)
		}
		p.free(got[1], "pod")
		if a, err := p.take("pod"); a != got[1] {
			t.Errorf("%s: %v, %v, want %s", c.subnet, a, err, got[1])
		}
	}
}

// TestLateReuse: an address comes again only after all others.
func TestLateReuse(t *testing.T) {
	p := newPool(netip.MustParsePrefix("10.0.0.0/24"))
	seen := map[netip.Addr]int{}
	for i := range 4 * p.capacity {
		a, err := p.take("pod")
		must(t, err)
		if last, again := seen[a]; again && i-last < p.capacity {
			t.Fatalf("%s comes again after %d others of %d", a, i-last-1, p.capacity)
		}
		seen[a] = i
		p.free(a, "pod")
	}
}

func TestLateReuseOverRestart(t *testing.T) {
	cfg := testConfig(t, subnet4, subnet6)
	n, err := Open(cfg)
	must(t, err)
	a := addPod(t, n)
	must(t, n.Remove(t.Context(), a.id))
	must(t, n.Close())
	n = openNetwork(t, cfg)
	b := addPod(t, n)
	for i := range b.IPs {
		if b.IPs[i] != a.IPs[i].Next() {
			t.Errorf("before the restart %v, after it %v", a.IPs, b.IPs)
		}
	}
}

func TestBigPool(t *testing.T) {
	p := newPool(netip.MustParsePrefix("fd00::/48"))
	if a, err := p.take("pod"); err != nil || a.String() != "fd00::2" {
		t.Errorf("%v, %v", a, err)
	}
}

// TestReturnedAddresses gives addresses out and takes them back at random, over restarts, and looks whether each that is given out is the one that
// waited the longest: of those that nobody has had the next one, else the first that was given back.
func TestReturnedAddresses(t *testing.T) {
	for _, subnet := range []string{"10.1.0.0/26", "fd00::/122"} {
		cfg := testConfig(t, netip.MustParsePrefix(subnet))
		n := &Network{cfg: cfg, leases: leaseDir(cfg.Dir)}
		must(t, os.MkdirAll(cfg.Dir, 0o700))
		var held []*lease
		var waiting []netip.Addr // for all others to be given out
		restart := func() {
			if n.cursor != nil {
				must(t, n.closePools())
			}
			p := newPool(cfg.Subnets[0])
			if n.v4 = p; !cfg.Subnets[0].Addr().Is4() {
				n.v4, n.v6 = nil, p
			}
			n.mu.pods = map[string]*lease{}
			for _, l := range held {
				p.claim(l.addresses()[0], l.pod)
				n.mu.pods[l.pod] = l
			}
			must(t, n.openPools())
		}
		restart()
		for a := n.pools()[0].gateway.Next(); n.pools()[0].usable(a); a = a.Next() {
			waiting = append(waiting, a)
		}
		for range 3000 {
			switch dice := rand.IntN(20); {
			case dice == 0:
				restart()
			case dice < 11 && len(waiting) > 0:
				l, err := n.grant(newID(), Want{})
				must(t, err)
				n.writeCursor()
				if got := l.addresses()[0]; got != waiting[0] {
					t.Fatalf("%s: given %s, and %s waits for longer", subnet, got, waiting[0])
				}
				held, waiting = append(held, l), waiting[1:]
			case len(held) > 0:
				i := rand.IntN(len(held))
				must(t, n.revoke(held[i]))
				waiting = append(waiting, held[i].addresses()...)
				held = slices.Delete(held, i, i+1)
			}
		}
		must(t, n.closePools())
	}
}

// TestReturnedQueue: the oldest are dropped for more than fit.
func TestReturnedQueue(t *testing.T) {
	q := newReturnedQueue(3)
	a := netip.MustParseAddr("10.0.0.1")
	for i := range 1000 {
		q.push(a)
		q.push(a)
		a = a.Next()
		if q.len() > 3 || len(q.ring) > 9 || q.len() != min(i+1, 3) {
			t.Fatalf("after %d: %d in a ring of %d", i+1, q.len(), len(q.ring))
		}
	}
}

// TestStrangeReturnedFile: whatever stands in the file, there are addresses to give out.
func TestStrangeReturnedFile(t *testing.T) {
	cfg := testConfig(t, netip.MustParsePrefix("10.88.0.0/29"))
	must(t, os.MkdirAll(cfg.Dir, 0o700))
	must(t, os.WriteFile(filepath.Join(cfg.Dir, "returned4"), bytes.Repeat([]byte{0xff, 0, 3, 1, 2, 0x80}, 200_000), 0o600))
	n := openNetwork(t, cfg)
	seen := map[netip.Addr]bool{}
	for range n.v4.capacity {
		seen[addPod(t, n).IPs[0]] = true
	}
	if len(seen) != 5 {
		t.Errorf("given %v", seen)
	}
}
