package bridge

import (
	"errors"
	"net/netip"
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
