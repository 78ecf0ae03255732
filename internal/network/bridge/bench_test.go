package bridge

import (
	"context"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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
