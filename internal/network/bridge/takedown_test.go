package bridge

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
)

// TestTakeDown: while a podlet serves or pods have addresses nothing is touched; then all is gone, and twice is once.
func TestTakeDown(t *testing.T) {
	cfg := testConfig(t, subnet4, subnet6)
	before := nodeState()
	n, err := Open(cfg)
	must(t, err)
	a := addPod(t, n, PortMapping{Protocol: UDP, HostPort: 5353, PodPort: 53})
	serve(t, a.ns, "udp", ":53", "a")
	expect(t, "before", nil, "udp", "127.0.0.1:5353", "a "+n.gateways()[0].String())
	for _, force := range []bool{false, true} {
		if err := TakeDown(t.Context(), cfg.Dir, force); !errors.Is(err, ErrInUse) {
			t.Errorf("of a podlet that serves: %v", err)
		}
	}
	must(t, n.Close())
	if err := TakeDown(t.Context(), cfg.Dir, false); !errors.Is(err, ErrHasPods) || !strings.Contains(err.Error(), a.id) {
		t.Errorf("with a pod: %v", err)
	}
	expect(t, "after refusals", nil, "udp", "127.0.0.1:5353", "a "+n.gateways()[0].String())
	limited := &testPod{id: newID(), ns: newNetNS(t)}
	n, err = Open(cfg)
	must(t, err)
	limited.Result, err = n.Add(t.Context(), limited.id, there(limited.ns), Want{Limits: Limits{FromPod: 1e9}})
	must(t, err)
	must(t, n.Close())
	must(t, TakeDown(t.Context(), cfg.Dir, true))
	for _, name := range []string{a.HostLink, limited.HostLink, ifbLink(limited.id), cfg.Bridge} {
		if _, err := netlink.LinkByName(name); err == nil {
			t.Errorf("%s is left", name)
		}
	}
	tables, err := Tables()
	must(t, err)
	if _, err := os.Stat(cfg.Dir); !errors.Is(err, os.ErrNotExist) || len(tables) > 0 {
		t.Errorf("left: %v, tables %q", err, tables)
	}
	if after := nodeState(); after != before {
		t.Errorf("before %s, after %s", before, after)
	}
	must(t, TakeDown(t.Context(), cfg.Dir, false))
}

// TestTakeDownRemains: what is left of a network of which others took parts away, is found.
func TestTakeDownRemains(t *testing.T) {
	for name, harm := range map[string]func(cfg Config) error{
		"bridge": func(cfg Config) error {
			link, err := netlink.LinkByName(cfg.Bridge)
			return errors.Join(err, netlink.LinkDel(link))
		},
		"rules": func(Config) error {
			c, err := nftables.New()
			must(t, err)
			c.FlushRuleset()
			return c.Flush()
		},
		"directory of leases": func(cfg Config) error { return os.RemoveAll(filepath.Join(cfg.Dir, leasesDir)) },
		"half": func(cfg Config) error {
			link, err := netlink.LinkByName(cfg.Bridge)
			must(t, errors.Join(err, netlink.LinkDel(link)))
			return os.WriteFile(forward4, []byte("0"), 0)
		},
	} {
		cfg := testConfig(t, subnet4, subnet6)
		before := nodeState()
		n, err := Open(cfg)
		must(t, err)
		addPod(t, n)
		must(t, n.Close())
		must(t, harm(cfg))
		must(t, TakeDown(t.Context(), cfg.Dir, true))
		if after := nodeState(); after != before {
			t.Errorf("without the %s: before %s, after %s", name, before, after)
		}
	}
}

// TestTakenName: the rules of a podlet that has taken the name of another's bridge, which was deleted, are its own.
func TestTakenName(t *testing.T) {
	first, second := testConfig(t, subnet4), testConfig(t, netip.MustParsePrefix("10.89.0.0/16"))
	n, err := Open(first)
	must(t, err)
	must(t, n.Close())
	must(t, deleteLinks(first.Bridge))
	m := openNetwork(t, second)
	a := addPod(t, m, PortMapping{Protocol: TCP, HostPort: 8080, PodPort: 80})
	serve(t, a.ns, "tcp", ":80", "a")
	first.Bridge = "podbr1"
	n, err = Open(first)
	must(t, err)
	expect(t, "after the first's start", nil, "tcp", "127.0.0.1:8080", "a "+m.gateways()[0].String())
	must(t, os.WriteFile(filepath.Join(first.Dir, bridgeFile), []byte(second.Bridge), 0o600))
	must(t, n.takeDown())
	expect(t, "after the first's end", nil, "tcp", "127.0.0.1:8080", "a "+m.gateways()[0].String())
}

// TestForwardingIsInherited: a network that goes leaves what the node's forwarding was to the one that stays.
func TestForwardingIsInherited(t *testing.T) {
	before := nodeState()
	first, second := testConfig(t, subnet4, subnet6), testConfig(t, netip.MustParsePrefix("10.89.0.0/16"))
	second.Bridge = "podbr1"
	n, err := Open(first)
	must(t, err)
	m, err := Open(second)
	must(t, err)
	must(t, n.takeDown())
	if v4, v6 := mustRead(t, forward4), mustRead(t, forward6); v4 != "1" || v6 != "1" {
		t.Errorf("with one network left, forwarding %s, %s", v4, v6)
	}
	must(t, m.Check(t.Context()))
	must(t, m.takeDown())
	if after := nodeState(); after != before {
		t.Errorf("before %s, after %s", before, after)
	}
}

// TestTakeDownAfterBoot: what was noted in an earlier boot is of no pod and no switch any more.
func TestTakeDownAfterBoot(t *testing.T) {
	cfg := testConfig(t, subnet4)
	t.Cleanup(func() { must(t, os.WriteFile(forward4, []byte("0"), 0)) })
	n, err := Open(cfg)
	must(t, err)
	addPod(t, n)
	must(t, n.Close())
	must(t, os.WriteFile(filepath.Join(cfg.Dir, bootFile), []byte("01234567-89ab-cdef-0123-456789abcdef\n"), 0o600))
	if leases, err := Leases(cfg.Dir); err != nil || len(leases) > 0 {
		t.Errorf("leases %v, %v", leases, err)
	}
	must(t, TakeDown(t.Context(), cfg.Dir, false))
	if got := mustRead(t, forward4); got != "1" {
		t.Errorf("forwarding is %s: what this boot had it at is not known", got)
	}
}

func mustRead(t *testing.T, path string) string {
	t.Helper()
	s, err := read(path)
	must(t, err)
	return s
}
