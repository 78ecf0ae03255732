package bridge

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
)

// TestDroppingChains: a chain of others that drops forwarded packets is told of once, with the remedy, and again when it was gone meanwhile; it's no error.
func TestDroppingChains(t *testing.T) {
	cfg := testConfig(t, subnet4)
	var log strings.Builder
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	n := openNetwork(t, cfg)
	c, err := nftables.New(nftables.AsLasting())
	must(t, err)
	defer c.CloseLasting()
	chain := func(family nftables.TableFamily, table, name string, hook *nftables.ChainHook, policy nftables.ChainPolicy) func() {
		made := c.AddTable(&nftables.Table{Family: family, Name: table})
		c.AddChain(&nftables.Chain{Name: name, Table: made, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: nftables.ChainPriorityFilter, Policy: &policy})
		must(t, c.Flush())
		return func() {
			c.DelTable(made)
			must(t, c.Flush())
		}
	}
	// expectLog looks for the one warning that is due, "" for none.
	expectLog := func(when string, want ...string) {
		t.Helper()
		log.Reset()
		n.check.dropping.next = time.Time{}
		must(t, n.Check(t.Context()))
		if want == nil && log.Len() > 0 || want != nil && strings.Count(log.String(), "level=WARN") != 1 {
			t.Errorf("%s: the log has %q", when, log.String())
		}
		for _, w := range want {
			if !strings.Contains(log.String(), w) {
				t.Errorf("%s: the log has %q, want %q in it", when, log.String(), w)
			}
		}
	}
	expectLog("a bare node")
	defer chain(nftables.TableFamilyINet, "theirs", "input", nftables.ChainHookInput, nftables.ChainPolicyDrop)()
	defer chain(nftables.TableFamilyINet, "kind", "forward", nftables.ChainHookForward, nftables.ChainPolicyAccept)()
	defer chain(nftables.TableFamilyIPv6, "filter", "FORWARD", nftables.ChainHookForward, nftables.ChainPolicyDrop)()
	defer chain(nftables.TableFamilyBridge, "frames", "forward", nftables.ChainHookForward, nftables.ChainPolicyDrop)()
	expectLog("chains that drop no forwarded packet of the pods' family")

	forward := chain(nftables.TableFamilyIPv4, "filter", "FORWARD", nftables.ChainHookForward, nftables.ChainPolicyDrop)
	const iptables = `chain="ip filter FORWARD" bridge=podbr0 remedy="iptables -I FORWARD -i podbr0 -j ACCEPT; iptables -I FORWARD -o podbr0 -j ACCEPT"`
	expectLog("FORWARD of iptables", iptables)
	expectLog("the same")
	defer chain(nftables.TableFamilyINet, "wall", "forward", nftables.ChainHookForward, nftables.ChainPolicyDrop)()
	expectLog("another besides", `remedy="nft insert rule inet wall forward iifname podbr0 accept; nft insert rule inet wall forward oifname podbr0 accept"`)
	forward()
	expectLog("one is gone")
	forward = chain(nftables.TableFamilyIPv4, "filter", "FORWARD", nftables.ChainHookForward, nftables.ChainPolicyDrop)
	expectLog("it is back", iptables)
	forward()
	expectLog("gone again")
	defer chain(nftables.TableFamilyIPv4, "filter", "FORWARD", nftables.ChainHookForward, nftables.ChainPolicyDrop)()
	c.AddChain(&nftables.Chain{Name: "DOCKER-USER", Table: &nftables.Table{Family: nftables.TableFamilyIPv4, Name: "filter"}})
	must(t, c.Flush())
	expectLog("Docker's", `remedy="iptables -I DOCKER-USER -i podbr0 -j ACCEPT; iptables -I DOCKER-USER -o podbr0 -j ACCEPT"`)

	// Between two looks there's a pause.
	defer chain(nftables.TableFamilyIPv4, "late", "forward", nftables.ChainHookForward, nftables.ChainPolicyDrop)()
	log.Reset()
	must(t, n.Check(t.Context()))
	if log.Len() > 0 {
		t.Errorf("at once after a look: the log has %q", log.String())
	}
}
