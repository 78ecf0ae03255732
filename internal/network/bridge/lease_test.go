package bridge

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestLeaseFile(t *testing.T) {
	dir := leaseDir(t.TempDir())
	v4, v6 := netip.MustParseAddr("10.88.0.5"), netip.MustParseAddr("fd00::5")
	for _, want := range []*lease{
		{pod: newID(), v4: v4},
		{pod: newID(), v6: v6},
		{pod: newID(), v4: v4, v6: v6, ports: []PortMapping{{TCP, netip.Addr{}, 80, 8080}, {UDP, v4, 1, 65535}, {SCTP, netip.IPv6Unspecified(), 65535, 1}}},
	} {
		must(t, dir.save(want))
		got, damaged, err := dir.load()
		must(t, err)
		if len(got) != 1 || len(damaged) > 0 {
			t.Fatalf("%d leases, damaged: %q", len(got), damaged)
		}
		if got[0].pod != want.pod || got[0].v4 != want.v4 || got[0].v6 != want.v6 || !slices.Equal(got[0].ports, want.ports) {
			t.Errorf("saved %+v, loaded %+v", want, got[0])
		}
		must(t, dir.drop(want))
		must(t, dir.drop(want))
	}
}

// TestDamagedLease: whatever stands in the directory, Open succeeds, and an address in a name is held.
func TestDamagedLease(t *testing.T) {
	cfg := testConfig(t, subnet4, subnet6)
	n, err := Open(cfg)
	must(t, err)
	must(t, n.Close())
	id := strings.Repeat("ab", 32)
	held := id + "@10.88.0.2@fd00:88::2"
	for name, content := range map[string]string{
		held: "tcp * 80 80\n", // cut short
		strings.Repeat("cd", 32) + "@10.88.0.3@fd00:88::3~": "",
		"..x": "", "@10.88.0.4": "", id + "@": "", strings.Repeat("ef", 32) + "@10.88.0.5@10.88.0.6": "", strings.Repeat("01", 32) + "@fe80::1%eth0": "",
		strings.Repeat("23", 32) + "@192.168.9.9": "tcp 1.2.3.4.5 80 80\nend\n",
	} {
		must(t, os.WriteFile(filepath.Join(string(n.leases), name), []byte(content), 0o600))
	}
	n = openNetwork(t, cfg)
	a := addPod(t, n)
	if a.IPs[0].String() != "10.88.0.3" || a.IPs[1].String() != "fd00:88::3" {
		t.Errorf("given %v: the first free ones are 10.88.0.3 and fd00:88::3", a.IPs)
	}
	removed, err := n.Recover(t.Context(), []string{a.id})
	must(t, err)
	if want := []string{strings.Repeat("23", 32), id}; !slices.Equal(removed, want) {
		t.Errorf("recovered %q, want %q", removed, want)
	}
}

func TestParsePorts(t *testing.T) {
	for _, bad := range []string{"tcp * 80 80", "tcp * 80 80\n", "tcp * 0 80\nend\n", "tcp * 80 65536\nend\n", "icmp * 80 80\nend\n", "tcp x 80 80\nend\n", "tcp * 80\nend\n", "tcp * 80 80 80\nend\n", "\nend\n", "end"} {
		var l lease
		if err := l.parse(bad); err == nil {
			t.Errorf("%q is taken for %+v", bad, l)
		}
	}
}

func TestOtherBoot(t *testing.T) {
	cfg := testConfig(t, subnet4)
	n, err := Open(cfg)
	must(t, err)
	t.Cleanup(func() { must(t, os.WriteFile(forward4, []byte("0"), 0)) }) // its note is of the earlier boot, too
	a := addPod(t, n, PortMapping{TCP, netip.Addr{}, 8080, 80})
	must(t, n.Close())
	must(t, os.WriteFile(filepath.Join(cfg.Dir, "boot"), []byte("01234567-89ab-cdef-0123-456789abcdef\n"), 0o600))
	n = openNetwork(t, cfg)
	if got := n.list(); len(got) > 0 {
		t.Errorf("leases of an earlier boot: %v", got)
	}
	if _, err := n.Recover(t.Context(), []string{a.id}); err != nil {
		t.Error(err)
	}
}

func FuzzLease(f *testing.F) {
	f.Add(strings.Repeat("ab", 32)+"@10.0.0.1@fd00::1", "tcp * 80 80\nend\n")
	f.Fuzz(func(t *testing.T, name, content string) {
		if l, err := parseName(name); err == nil && !strings.HasPrefix(name, l.pod+"@") {
			t.Errorf("%q is taken for pod %q", name, l.pod)
		}
		var l, again lease
		if err := l.parse(content); err != nil {
			return
		}
		if err := again.parse(string(l.content())); err != nil || !slices.Equal(again.ports, l.ports) || again.limits != l.limits {
			t.Errorf("%+v written and read: %+v, %v", l, again, err)
		}
	})
}
