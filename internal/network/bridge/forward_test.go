package bridge

import (
	"os"
	"testing"

	"github.com/vishvananda/netlink"
)

// TestAlongWithForwarding: what the kernel changes of itself when forwarding changes is again as the administrator had it. A link that has gone meanwhile,
// whose name only looks like a way out of the directory, does no harm.
func TestAlongWithForwarding(t *testing.T) {
	newNeighbour(t, 2)
	newNeighbour(t, 3)
	must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "gone..soon"}}))
	had := map[string]string{
		conf4 + "/all/accept_redirects": "0", conf4 + "/default/forwarding": "1", conf4 + "/wire2/forwarding": "1", conf4 + "/wire3/forwarding": "0",
		conf6 + "/default/forwarding": "1", conf6 + "/wire2/forwarding": "1", conf6 + "/wire3/forwarding": "0",
		conf4 + "/gone..soon/forwarding": "1", conf6 + "/gone..soon/forwarding": "1",
		// wire2 is a router's already, and hears no advertisement.
		conf6 + "/wire2/accept_ra": "1", conf6 + "/wire3/accept_ra": "1",
	}
	for _, path := range []string{conf4 + "/all/accept_redirects", conf4 + "/default/forwarding", conf6 + "/default/forwarding"} {
		was := mustRead(t, path)
		t.Cleanup(func() { must(t, os.WriteFile(path, []byte(was), 0)) })
	}
	set := func() {
		t.Helper()
		for path, value := range had {
			must(t, os.WriteFile(path, []byte(value), 0))
		}
	}
	set()
	cfg := testConfig(t, subnet4, subnet6)
	n, err := Open(cfg)
	must(t, err)
	for path, want := range map[string]string{
		forward4: "1", forward6: "1", conf4 + "/all/accept_redirects": "0", conf6 + "/wire2/accept_ra": "1", conf6 + "/wire3/accept_ra": "2",
	} {
		if got := mustRead(t, path); got != want {
			t.Errorf("while a podlet serves, %s is %s, want %s", path, got, want)
		}
	}
	// Somebody switches forwarding off and a link's on, which is so noted after forwarding itself.
	must(t, os.WriteFile(forward4, []byte("0"), 0))
	must(t, os.WriteFile(conf4+"/wire3/forwarding", []byte("1"), 0))
	had[conf4+"/wire3/forwarding"] = "1"
	must(t, n.Check(t.Context()))
	must(t, deleteLinks("gone..soon"))
	delete(had, conf4+"/gone..soon/forwarding")
	delete(had, conf6+"/gone..soon/forwarding")
	must(t, n.takeDown())
	had[forward4], had[forward6] = "0", "0"
	for path, want := range had {
		if got := mustRead(t, path); got != want {
			t.Errorf("after the network, %s is %s, want %s", path, got, want)
		}
	}
}
