package network

import (
	"fmt"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// pair makes a veth pair, here a0 and b0 of the namespace given, both up and with addresses that only they have.
func pair(t *testing.T, there *os.File) {
	t.Helper()
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "a0"}, PeerName: "b0", PeerNamespace: netlink.NsFd(there.Fd())}
	must(t, netlink.LinkAdd(link))
	t.Cleanup(func() { netlink.LinkDel(link) })
	up := func(name, address string) error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		a, err := netlink.ParseAddr(address)
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(l, a); err != nil {
			return err
		}
		return netlink.LinkSetUp(l)
	}
	must(t, up("a0", "10.99.0.1/24"))
	must(t, Inside(there, func() error { return up("b0", "10.99.0.2/24") }))
}

// send sends packets of 1,000 bytes to where nobody listens.
func send(to string, packets int) error {
	c, err := net.DialTimeout("udp", to, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	for sent := 0; sent < packets; {
		_, err := c.Write(make([]byte, 1000))
		if err == nil {
			sent++
		} else if !strings.Contains(err.Error(), "refused") { // of one sent before; this one wasn't
			return err
		}
	}
	return nil
}

// await reads until the first link has received and sent so many bytes, or so long.
func await(t *testing.T, m *Meter, most time.Duration, received, sent uint64) (list []Counters) {
	t.Helper()
	for deadline := time.Now().Add(most); ; time.Sleep(5 * time.Millisecond) {
		var err error
		list, err = m.Read()
		must(t, err)
		if list[0].RxBytes >= received && list[0].TxBytes >= sent || time.Now().After(deadline) {
			return list
		}
	}
}

func TestMeterCountsTraffic(t *testing.T) {
	ns := newNetNS(t, loopbackUp)
	pair(t, ns)
	m, err := OpenMeter(ns)
	must(t, err)
	defer m.Close()
	before, err := m.Read()
	must(t, err)
	if len(before) != 1 || before[0].Name != "b0" {
		t.Fatalf("links %+v, want b0 alone", before)
	}
	// What goes through lo is nobody's.
	must(t, Inside(ns, func() error { return send("127.0.0.1:9", 100) }))
	quiet, err := m.Read()
	must(t, err)
	if grown := quiet[0].RxBytes + quiet[0].TxBytes - before[0].RxBytes - before[0].TxBytes; grown > 10_000 {
		t.Errorf("traffic on lo counted as %d bytes of b0", grown)
	}
	// The first packet waits for the neighbour's address, and so few others may; one that comes before the kernel's worker has brought the link up is lost.
	for first, tries := quiet[0].RxBytes, 0; quiet[0].RxBytes < first+1000 && tries < 60; tries++ {
		must(t, send("10.99.0.2:9", 1))
		quiet = await(t, m, time.Second, first+1000, 0)
	}
	must(t, send("10.99.0.2:9", 100))
	after := await(t, m, time.Minute, quiet[0].RxBytes+100_000, 0)
	if rx := after[0].RxBytes - quiet[0].RxBytes; rx < 100_000 || rx > 120_000 {
		t.Errorf("received %d bytes of 100 packets with 1,000 each", rx)
	}
	must(t, Inside(ns, func() error { return send("10.99.0.1:9", 50) }))
	sent := await(t, m, time.Minute, 0, after[0].TxBytes+50_000)
	if tx := sent[0].TxBytes - after[0].TxBytes; tx < 50_000 || tx > 70_000 {
		t.Errorf("sent %d bytes in 50 packets of 1,000", tx)
	}
}

// More links than fit into a page, or into the one that is read at once.
func TestMeterOfManyLinks(t *testing.T) {
	many := func(n int) func() error {
		return func() error {
			for i := range n {
				if err := netlink.LinkAdd(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprintf("many%d", i)}}); err != nil {
					return err
				}
			}
			return nil
		}
	}
	probe := newNetNS(t, nil)
	if err := Inside(probe, many(1)); err != nil {
		t.Skipf("this kernel has no dummy links: %v", err)
	}
	ns := newNetNS(t, many(100))
	m, err := OpenMeter(ns)
	must(t, err)
	defer m.Close()
	list, err := m.Read()
	must(t, err)
	var names []string
	for _, c := range list {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	if len(slices.Compact(names)) != 100 {
		t.Errorf("%d links of 100: %q", len(names), names)
	}
	var links []netlink.Link
	must(t, Inside(ns, func() (err error) {
		links, err = netlink.LinkList()
		return err
	}))
	if len(links) != 101 {
		t.Errorf("rtnetlink tells of %d", len(links))
	}
}

// A Meter keeps the namespace; closed it doesn't.
func TestMeterHoldsNamespace(t *testing.T) {
	ns := newNetNS(t, nil)
	pair(t, ns)
	m, err := OpenMeter(ns)
	must(t, err)
	ns.Close()
	if list, err := m.Read(); err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	must(t, m.Close())
	// The kernel takes the namespace apart some time later, and with it the pair.
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if _, err := netlink.LinkByName("a0"); err != nil {
			return
		}
	}
	t.Error("the namespace lives on after Close")
}

func TestReadCounters(t *testing.T) {
	const head = "Inter-|   Receive\n face |bytes\n"
	const lo = "    lo:     100       2    0    0    0     0          0         0      100       2    0    0    0     0       0          0\n"
	for text, want := range map[string][]Counters{
		head:      nil,
		head + lo: nil,
		head + lo + "  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n":                                {{"eth0", 1, 3, 9, 11}},
		head + "eth0:18446744073709551615 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n net1: 0 0 0 0 0 0 0": {{"eth0", 18446744073709551615, 3, 9, 11}},
	} {
		if got, err := readCounters([]byte(text)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"eth0 1 2\n", "eth0: 1 2 3\n", "eth0: 1 2 x 4 5 6 7 8 9 10 11 12\n", "\n"} {
		if got, err := readCounters([]byte(head + text)); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func BenchmarkMeter(b *testing.B) {
	ns := newNetNS(b, func() error {
		return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}})
	})
	m, err := OpenMeter(ns)
	must(b, err)
	defer m.Close()
	b.ReportAllocs()
	for b.Loop() {
		_, err := m.Read()
		must(b, err)
	}
}
