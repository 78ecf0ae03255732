package bridge

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// shaperOf gives the shaper of what leaves by a link; nil if there is none.
func shaperOf(t testing.TB, name string) *netlink.Tbf {
	t.Helper()
	link, err := netlink.LinkByName(name)
	must(t, err)
	list, err := dump(func() ([]netlink.Qdisc, error) { return netlink.QdiscList(link) })
	must(t, err)
	for _, q := range list {
		if tbf, ok := q.(*netlink.Tbf); ok && q.Attrs().Parent == netlink.HANDLE_ROOT {
			return tbf
		}
	}
	return nil
}

// transfer sends so many bytes by TCP to or from a pod, with the node at the other end, and says how long it took.
func transfer(t testing.TB, p *testPod, toPod bool, address string, size int64) time.Duration {
	t.Helper()
	var l net.Listener
	inside(t, p.ns, func() (err error) {
		l, err = net.Listen("tcp", ":0")
		return err
	})
	defer l.Close()
	ours, err := net.Dial("tcp", net.JoinHostPort(address, fmt.Sprint(l.Addr().(*net.TCPAddr).Port)))
	must(t, err)
	defer ours.Close()
	theirs, err := l.Accept()
	must(t, err)
	defer theirs.Close()
	from, to := theirs, ours
	if toPod {
		from, to = ours, theirs
	}
	start := time.Now()
	go func() {
		io.CopyN(from, zeros{}, size)
		from.(*net.TCPConn).CloseWrite()
	}()
	if n, err := io.Copy(io.Discard, to); err != nil || n != size {
		t.Fatalf("%d of %d bytes arrived, %v", n, size, err)
	}
	return time.Since(start)
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// TestLimits: what goes to a pod, and what comes from it, passes a shaper of its own on the node, whatever family it is of; another pod has none.
func TestLimits(t *testing.T) {
	cfg := testConfig(t, subnet4, subnet6)
	n, err := Open(cfg)
	must(t, err)
	add := func(l Limits) *testPod {
		t.Helper()
		p := &testPod{id: newID(), ns: newNetNS(t)}
		p.Result, err = n.Add(t.Context(), p.id, there(p.ns), Want{Limits: l})
		must(t, err)
		return p
	}
	both, to, from, free := add(Limits{ToPod: 20e6, FromPod: 10e6}), add(Limits{ToPod: 1e15}), add(Limits{FromPod: 1e3}), addPod(t, n)
	for _, c := range []struct {
		what, link string
		rate       uint64
	}{
		{"to the pod with both", both.HostLink, 2.5e6}, {"from the pod with both", ifbLink(both.id), 1.25e6}, {"to", to.HostLink, 1.25e14}, {"from", ifbLink(from.id), 125},
		{"from's other way", from.HostLink, 0}, {"none", free.HostLink, 0},
	} {
		rate := uint64(0)
		if q := shaperOf(t, c.link); q != nil {
			rate = q.Rate
		}
		if rate != c.rate {
			t.Errorf("%s: %d bytes per second, want %d", c.what, rate, c.rate)
		}
	}
	for _, p := range []*testPod{to, free} {
		if _, err := netlink.LinkByName(ifbLink(p.id)); err == nil {
			t.Errorf("a pod without a limit to what it sends has %s", ifbLink(p.id))
		}
	}
	const size = 150_000
	for i := range 2 {
		for _, way := range []struct {
			toPod bool
			link  string
		}{{true, both.HostLink}, {false, ifbLink(both.id)}} {
			// On a busy machine a transfer may be slower than the limit by itself.
			waited := false
			for deadline := time.Now().Add(time.Minute); !waited && time.Now().Before(deadline); {
				before := shaperOf(t, way.link).Statistics
				transfer(t, both, way.toPod, both.IPs[i].String(), size)
				after := shaperOf(t, way.link).Statistics
				if passed := after.Basic.Bytes - before.Basic.Bytes; passed < size {
					t.Errorf("of %d bytes by %s, %d passed the shaper", size, way.link, passed)
				}
				waited = after.Queue.Overlimits != before.Queue.Overlimits
			}
			if !waited {
				t.Errorf("nothing had to wait for %s", way.link)
			}
		}
	}
	// A pod that is reached by another has the same limit.
	before := shaperOf(t, ifbLink(both.id)).Statistics.Basic.Packets
	serve(t, both.ns, "tcp", ":80", "both")
	expect(t, "from another pod", free.ns, "tcp", both.at(0, 80), "both "+free.IPs[0].String())
	if shaperOf(t, ifbLink(both.id)).Statistics.Basic.Packets == before {
		t.Error("what a pod sends to another pod passes no shaper")
	}
	// The devices go with their pods: also where podlet ended too early for it, and only its own.
	gone := linksGone(t)
	must(t, n.Remove(t.Context(), from.id))
	gone(ifbLink(from.id))
	other := ifbPrefix + strings.Repeat("ab", 6)
	must(t, netlink.LinkAdd(&netlink.Ifb{LinkAttrs: netlink.LinkAttrs{Name: other}}))
	must(t, n.Remove(t.Context(), both.id))
	must(t, n.Close())
	n = openNetwork(t, cfg)
	if l := n.mu.pods[to.id]; l == nil || l.limits != (Limits{ToPod: 1e15}) {
		t.Errorf("the next podlet knows %+v", l)
	}
	_, err = n.Recover(t.Context(), []string{to.id, free.id})
	must(t, err)
	gone(ifbLink(both.id))
	link, err := netlink.LinkByName(other)
	must(t, err)
	must(t, netlink.LinkDel(link))
}

// TestFailedLimit: an Add whose limit can't be had leaves nothing, and what was in the way stays.
func TestFailedLimit(t *testing.T) {
	n := openNetwork(t, testConfig(t, subnet4))
	id, ns := newID(), newNetNS(t)
	must(t, netlink.LinkAdd(&netlink.Ifb{LinkAttrs: netlink.LinkAttrs{Name: ifbLink(id)}}))
	_, err := n.Add(t.Context(), id, there(ns), Want{Limits: Limits{FromPod: 1e6, ToPod: 1e6}})
	if err == nil || !strings.Contains(err.Error(), ifbLink(id)) {
		t.Errorf("%v", err)
	}
	if _, err := netlink.LinkByName(hostLink(id)); err == nil || len(n.list()) > 0 {
		t.Errorf("left: link %v, %d leases", err, len(n.list()))
	}
	link, err := netlink.LinkByName(ifbLink(id))
	must(t, err)
	must(t, netlink.LinkDel(link))
	_, err = n.Add(t.Context(), id, there(ns), Want{Limits: Limits{FromPod: 1e6, ToPod: 1e6}})
	must(t, err)
}

func TestBucket(t *testing.T) {
	for _, c := range []struct {
		bits uint64
		mtu  int
		want bucket
	}{
		{1e3, 1500, bucket{125, 4 * 1514, 20 * 1514}},
		{1e9, 1500, bucket{125e6, 2.5e6, 6.25e6}},
		{1e15, 65535, bucket{125e12, mostAtOnce, mostAtOnce}},
		{1001, 9000, bucket{126, 4 * 9014, 20 * 9014}},
	} {
		if got := bucketOf(c.bits, c.mtu); got != c.want {
			t.Errorf("%d bits per second at %d bytes: %+v, want %+v", c.bits, c.mtu, got, c.want)
		}
	}
}

// BenchmarkLimits says how much of a rate a TCP connection gets. One operation is what the rate allows in two seconds.
func BenchmarkLimits(b *testing.B) {
	for _, rate := range []uint64{1e6, 10e6, 100e6, 1e9} {
		for _, toPod := range []bool{true, false} {
			b.Run(fmt.Sprintf("%dM/toPod=%v", rate/1e6, toPod), func(b *testing.B) {
				n := openNetwork(b, testConfig(b, netip.MustParsePrefix("10.88.0.0/16")))
				p := &testPod{id: newID(), ns: newNetNS(b)}
				var err error
				p.Result, err = n.Add(b.Context(), p.id, there(p.ns), Want{Limits: Limits{ToPod: rate, FromPod: rate}})
				must(b, err)
				size := int64(rate / 8 * 2)
				var took time.Duration
				for range b.N {
					took += transfer(b, p, toPod, p.IPs[0].String(), size)
				}
				b.ReportMetric(float64(size)*float64(b.N)*8/took.Seconds()/float64(rate)*100, "%rate")
			})
		}
	}
}

// BenchmarkAddLimited is BenchmarkAdd for a pod with both limits.
func BenchmarkAddLimited(b *testing.B) {
	n := openNetwork(b, testConfig(b, subnet4, subnet6))
	var times []time.Duration
	for b.Loop() {
		b.StopTimer()
		id, ns := newID(), dropped(b)
		b.StartTimer()
		start := time.Now()
		_, err := n.Add(b.Context(), id, there(ns), Want{Limits: Limits{ToPod: 1e9, FromPod: 1e9}})
		times = append(times, time.Since(start))
		b.StopTimer()
		must(b, err)
		must(b, ns.Close())
		must(b, n.Remove(b.Context(), id))
		b.StartTimer()
	}
	percentiles(b, times)
}
