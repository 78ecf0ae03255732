package bridge

import (
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestHeldNamespace: a removed pod whose namespace somebody holds is off the bridge soon, and another podlet does it where one died too early.
func TestHeldNamespace(t *testing.T) {
	cfg := testConfig(t, subnet4, subnet6)
	n, err := Open(cfg)
	must(t, err)
	gone := linksGone(t)
	a, b, c := addPod(t, n), addPod(t, n), addPod(t, n)
	must(t, n.Remove(t.Context(), a.id))
	gone(a.HostLink)
	began := time.Now()
	must(t, n.Remove(t.Context(), b.id))
	must(t, n.Close())
	inTime := time.Since(began) < strayTime // else the first one may have come to it
	m := openNetwork(t, cfg)
	if _, err := netlink.LinkByName(b.HostLink); err != nil && inTime {
		t.Errorf("before Recover: %v", err)
	}
	_, err = m.Recover(t.Context(), []string{c.id})
	must(t, err)
	gone(b.HostLink)
	serve(t, c.ns, "tcp", ":80", "c")
	expect(t, "a pod that stays", nil, "tcp", c.at(0, 80), "c "+m.gateways()[0].String())
}

// TestPodsAreAttached: a podlet that finds its bridge gone, or is given another name for it, has its pods on the bridge that it makes.
func TestPodsAreAttached(t *testing.T) {
	cfg := testConfig(t, subnet4, subnet6)
	n, err := Open(cfg)
	must(t, err)
	a := addPod(t, n, PortMapping{Protocol: TCP, HostPort: 8080, PodPort: 80})
	serve(t, a.ns, "tcp", ":80", "a")
	must(t, n.Close())
	link, err := netlink.LinkByName(cfg.Bridge)
	must(t, err)
	must(t, netlink.LinkDel(link))
	n, err = Open(cfg)
	must(t, err)
	expect(t, "after the bridge was deleted", nil, "tcp", a.at(0, 80), "a "+n.gateways()[0].String())
	must(t, n.Close())

	// A name of which only the rules are left.
	cfg.Bridge = "podbr8"
	n, err = Open(cfg)
	must(t, err)
	must(t, n.Close())
	must(t, deleteLinks(cfg.Bridge))

	before := cfg.Bridge
	cfg.Bridge = "podbr9"
	n = openNetwork(t, cfg)
	expect(t, "with another name", nil, "tcp", "127.0.0.1:8080", "a "+n.gateways()[0].String())
	expect(t, "with another name", nil, "tcp", netip.AddrPortFrom(a.IPs[1], 80).String(), "a "+n.gateways()[1].String())
	if _, err := netlink.LinkByName(before); err == nil {
		t.Errorf("the bridge %s is there still", before)
	}
	if tables, err := Tables(); err != nil || len(tables) != 1 || tables[0] != tablePrefix+cfg.Bridge {
		t.Errorf("tables %q, %v", tables, err)
	}
}

// linksGone lets a test wait for the end of links.
func linksGone(t *testing.T) func(name string) {
	t.Helper()
	news, stop := make(chan netlink.LinkUpdate, 256), make(chan struct{})
	must(t, netlink.LinkSubscribe(news, stop))
	t.Cleanup(func() {
		close(stop)
		for range news {
		}
	})
	gone := map[string]bool{}
	return func(name string) {
		for !gone[name] {
			u, ok := <-news
			if !ok {
				t.Fatalf("the kernel's news of links have ended; %s is not known to be gone", name)
			}
			if u.Header.Type == unix.RTM_DELLINK {
				gone[u.Attrs().Name] = true
			}
		}
	}
}
