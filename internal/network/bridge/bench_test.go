package bridge

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// BenchmarkAdd times Add alone; namespaces are made and dropped outside the clock.
func BenchmarkAdd(b *testing.B) {
	for _, c := range []struct {
		name  string
		ports []PortMapping
	}{{"plain", nil}, {"ports", []PortMapping{{Protocol: TCP, HostPort: 8080, PodPort: 80}, {Protocol: UDP, HostPort: 8080, PodPort: 80}}}} {
		b.Run(c.name, func(b *testing.B) {
			n := openNetwork(b, testConfig(b, subnet4, subnet6))
			var times []time.Duration
			for b.Loop() {
				b.StopTimer()
				id, ns := newID(), dropped(b)
				b.StartTimer()
				start := time.Now()
				_, err := n.Add(context.Background(), id, there(ns), Want{Ports: c.ports})
				times = append(times, time.Since(start))
				b.StopTimer()
				must(b, err)
				must(b, ns.Close())
				must(b, n.Remove(context.Background(), id))
				b.StartTimer()
			}
			percentiles(b, times)
		})
	}
}

// BenchmarkRemove times Remove after the namespace was dropped.
func BenchmarkRemove(b *testing.B) {
	for _, c := range []struct {
		name  string
		ports []PortMapping
	}{{"plain", nil}, {"tcp", []PortMapping{{Protocol: TCP, HostPort: 8080, PodPort: 80}}}, {"udp", []PortMapping{{Protocol: UDP, HostPort: 8080, PodPort: 80}}}} {
		b.Run(c.name, func(b *testing.B) {
			n := openNetwork(b, testConfig(b, subnet4, subnet6))
			var times []time.Duration
			for b.Loop() {
				b.StopTimer()
				id, ns := newID(), dropped(b)
				_, err := n.Add(context.Background(), id, there(ns), Want{Ports: c.ports})
				must(b, err)
				must(b, ns.Close())
				b.StartTimer()
				start := time.Now()
				must(b, n.Remove(context.Background(), id))
				times = append(times, time.Since(start))
			}
			percentiles(b, times)
		})
	}
}

// BenchmarkChurn is the life of pods' networks at four workers: make a namespace, add, drop, remove.
func BenchmarkChurn(b *testing.B) {
	n := openNetwork(b, testConfig(b, subnet4, subnet6))
	var all sync.WaitGroup
	var turn atomic.Int64
	var mu sync.Mutex
	var times []time.Duration
	for range 4 {
		all.Go(func() {
			for turn.Add(1) <= int64(b.N) {
				id, ns := newID(), dropped(b)
				start := time.Now()
				_, err := n.Add(context.Background(), id, there(ns), Want{})
				took := time.Since(start)
				if err != nil {
					b.Error(err)
				}
				ns.Close()
				if err := n.Remove(context.Background(), id); err != nil {
					b.Error(err)
				}
				mu.Lock()
				times = append(times, took)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pods/s")
	percentiles(b, times)
}

// dropped makes a namespace that the caller closes.
func dropped(t testing.TB) *os.File {
	var f *os.File
	if err := onThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		f, err = os.Open("/proc/thread-self/ns/net")
		return err
	}); err != nil {
		t.Error(err)
	}
	return f
}

func percentiles(b *testing.B, times []time.Duration) {
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "p99-ms")
}

// BenchmarkCheck times Check where nothing is amiss, as the kubelet has it done every few seconds: on a node where others have few chains, and thousands as
// kube-proxy's. Without the pause between two looks at those, which is what such a look costs.
func BenchmarkCheck(b *testing.B) {
	for _, chains := range []int{0, 30, 30000} {
		b.Run(fmt.Sprint(chains), func(b *testing.B) {
			n := openNetwork(b, testConfig(b, subnet4, subnet6))
			addForeignChains(b, chains)
			for b.Loop() {
				n.check.dropping.next = time.Time{}
				must(b, n.Check(b.Context()))
			}
		})
	}
}

// addForeignChains makes a table with chains of another program's.
func addForeignChains(t testing.TB, chains int) {
	t.Helper()
	c, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(roomForAll))
	must(t, err)
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "nat"})
	for i := range chains {
		c.AddChain(&nftables.Chain{Name: fmt.Sprintf("KUBE-SVC-%016d", i), Table: table})
		if i%1000 == 999 {
			must(t, c.Flush())
		}
	}
	must(t, c.Flush())
	t.Cleanup(func() {
		c.DelTable(table)
		must(t, errors.Join(c.Flush(), c.CloseLasting()))
	})
}
