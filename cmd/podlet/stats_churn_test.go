package main

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestStatsDuringChurn asks for everything while containers come and go: it is never an error, no counter is another container's, and no
// file that was opened for it stays, which commonNode looks at in the end.
func TestStatsDuringChurn(t *testing.T) {
	n := commonNode(t)
	p := n.newPod(n.inOwnCgroup("churns"))
	began := time.Now()
	burner := p.start(container("burner", "sh", "-c", "while :; do :; done"))
	done := make(chan struct{})
	var work sync.WaitGroup
	var asked atomic.Int64
	for i := range 2 {
		work.Go(func() {
			for round := 0; round < 12 || asked.Load() < 5 && !t.Failed(); round++ {
				c := p.start(container(fmt.Sprintf("short-%d-%d", i, round), "sleep", "1000"))
				if _, err := n.RemoveContainer(n.ctx(), &cri.RemoveContainerRequest{ContainerId: c}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	go func() {
		work.Wait()
		close(done)
	}()
	var last uint64
	for ; ; asked.Add(1) {
		select {
		case <-done:
			return
		case <-time.After(10 * time.Millisecond):
		}
		asks := time.Now()
		r, err := n.ListContainerStats(n.ctx(), &cri.ListContainerStatsRequest{})
		// podlet may stand still between its look at the clock and that at the counter. A rate is over a tenth of a second at least.
		late := 1 + time.Since(asks).Seconds()*10
		if err != nil {
			t.Errorf("ListContainerStats: %v", err)
		}
		pods, err := n.ListPodSandboxStats(n.ctx(), &cri.ListPodSandboxStatsRequest{})
		if err != nil || len(pods.Stats) != 1 {
			t.Errorf("ListPodSandboxStats: %v, %v", pods, err)
		}
		most := uint64(time.Since(began)+time.Second) * uint64(runtime.NumCPU())
		for _, s := range r.GetStats() {
			used := s.Cpu.UsageCoreNanoSeconds.Value
			if used > most || float64(s.Cpu.UsageNanoCores.GetValue()) > 2e9*late*float64(runtime.NumCPU()) {
				t.Errorf("%s used %s in %s, %v", s.Attributes.Metadata.Name, time.Duration(used), time.Since(began), s.Cpu.UsageNanoCores)
			}
			if s.Attributes.Id != burner {
				continue
			}
			if used < last {
				t.Errorf("the counter went from %d back to %d", last, used)
			}
			last = used
		}
	}
}
