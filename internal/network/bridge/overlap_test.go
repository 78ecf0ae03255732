package bridge

import (
	"bytes"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

// otherLink makes a link of the node's that is up.
func otherLink(t *testing.T) netlink.Link {
	t.Helper()
	must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "other0"}}))
	link, err := netlink.LinkByName("other0")
	must(t, err)
	t.Cleanup(func() { must(t, netlink.LinkDel(link)) })
	must(t, netlink.LinkSetUp(link))
	return link
}

// TestOverlap: a subnet that the node has another way to is refused by name, unless that way is a wider one, and the node keeps its way.
func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		name           string
		address, route string
		refused        string // "" is none
	}{
		{"address within", "10.88.3.4/24", "", "10.88.3.4/24"},
		{"address of a wider network", "10.1.2.3/8", "", "10.1.2.3/8"},
		{"address of one host", "10.88.3.4/32", "", "10.88.3.4/32"},
		{"IPv6 address within", "fd00:88::7/128", "", "fd00:88::7/128"},
		{"the same by a route", "", "10.88.0.0/16", "10.88.0.0/16"},
		{"route within", "", "10.88.9.0/24", "10.88.9.0/24"},
		{"IPv6 route within", "", "fd00:88::/96", "fd00:88::/96"},
		{"wider route", "", "10.0.0.0/8", ""},
		{"neighbour", "10.89.0.1/16", "10.87.0.0/16", ""},
		{"default route", "", "0.0.0.0/0", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			link := otherLink(t)
			if c.address != "" {
				a, err := netlink.ParseAddr(c.address)
				must(t, err)
				must(t, netlink.AddrAdd(link, a))
			}
			if c.route != "" {
				_, dst, err := net.ParseCIDR(c.route)
				must(t, err)
				must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: dst}))
			}
			n, err := Open(testConfig(t, subnet4, subnet6))
			if err == nil {
				must(t, n.takeDown())
			}
			if (err == nil) != (c.refused == "") || err != nil && (!strings.Contains(err.Error(), c.refused) || !strings.Contains(err.Error(), "other0")) {
				t.Errorf("%v, want %q and the link's name in it", err, c.refused)
			}
			if _, err := netlink.LinkByName("podbr0"); err == nil {
				t.Error("there is a bridge")
			}
		})
	}
}

// TestOverlapLater: what comes when pods are there already keeps no podlet from taking them over. It is told.
func TestOverlapLater(t *testing.T) {
	cfg := testConfig(t, subnet4)
	n, err := Open(cfg)
	must(t, err)
	link := otherLink(t)
	a, err := netlink.ParseAddr("10.88.3.4/24")
	must(t, err)
	must(t, netlink.AddrAdd(link, a))
	must(t, n.Check(t.Context()))
	must(t, n.Close())
	var log bytes.Buffer
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	openNetwork(t, cfg)
	if !strings.Contains(log.String(), "10.88.3.4/24") {
		t.Errorf("log %q", log.String())
	}
}

// TestAbandonedBridge: the bridge of a podlet whose directory is gone is taken over, unless something is on it.
func TestAbandonedBridge(t *testing.T) {
	first := testConfig(t, subnet4)
	n, err := Open(first)
	must(t, err)
	pod := addPod(t, n)
	must(t, n.Close())
	must(t, os.RemoveAll(first.Dir)) // and with it the note of what the node's forwarding was
	t.Cleanup(func() { must(t, os.WriteFile(forward4, []byte("0"), 0)) })
	second := first
	second.Dir = filepath.Join(t.TempDir(), "second")
	if _, err := Open(second); err == nil || !strings.Contains(err.Error(), "not of this podlet") {
		t.Errorf("with a pod on it: %v", err)
	}
	must(t, n.unplug(pod.id))
	m := openNetwork(t, second)
	if got := addPod(t, m).IPs[0]; got != netip.MustParseAddr("10.88.0.2") {
		t.Errorf("the first pod has %s", got)
	}
}
