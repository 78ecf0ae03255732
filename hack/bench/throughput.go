package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// rowRate is the row's name.
const rowRate = "pods-per-second"

// workers are how many bring pods up at a time.
const workers = 4

// batches are how many times each of the two counts is taken, in turns.
const batches = 3

// throughput is how many pods workers get done, each with the next pod as soon as it is through with one. Every pod is on the bridge and
// has one container. Pods a second of all workers together, medians of the batches.
type throughput struct {
	Workers int `json:"workers"`
	Batches int `json:"batches"`
	// Up counts pods that are brought up (RunPodSandbox, CreateContainer, StartContainer) and stay: from the first call to the last
	// answer, with all of the batch's pods up at its end. Their removal is not counted.
	Up float64 `json:"up_per_second"`
	// Cycle counts whole lives: up as above, then StopPodSandbox and RemovePodSandbox.
	Cycle float64 `json:"up_and_down_per_second"`
}

func (t throughput) note(name string, pods int) string {
	return fmt.Sprintf("%s, %d workers, %d batches of %d pods: %.0f pods/s brought up (RunPodSandbox, CreateContainer, StartContainer), "+
		"%.0f pods/s brought up, stopped and removed", name, t.Workers, t.Batches, pods, t.Up, t.Cycle)
}

// takeThroughput has batches of n pods.
func (b *bench) takeThroughput(ctx context.Context, n int) (*throughput, error) {
	if err := b.inParallel(warmUp*workers, func() error { return b.cycle(ctx) }); err != nil {
		return nil, err
	}
	var ups, cycles []time.Duration
	for range batches {
		var mu sync.Mutex
		var pods []pod
		began := time.Now()
		err := b.inParallel(n, func() error {
			p, _, err := b.up(ctx, true)
			mu.Lock()
			defer mu.Unlock()
			pods = append(pods, p)
			return err
		})
		if err != nil {
			return nil, err
		}
		ups = append(ups, time.Since(began))
		for _, p := range pods {
			if _, err := b.down(ctx, p); err != nil {
				return nil, err
			}
		}
		began = time.Now()
		if err := b.inParallel(n, func() error { return b.cycle(ctx) }); err != nil {
			return nil, err
		}
		cycles = append(cycles, time.Since(began))
	}
	rate := func(times []time.Duration) float64 { return float64(n) / quantile(times, 50).Seconds() }
	return &throughput{Workers: workers, Batches: batches, Up: rate(ups), Cycle: rate(cycles)}, nil
}

// cycle is a pod's life without an exec.
func (b *bench) cycle(ctx context.Context) error {
	p, _, err := b.up(ctx, true)
	if err == nil {
		_, err = b.down(ctx, p)
	}
	return err
}

// inParallel has workers do something n times together. Each ends at its first error.
func (b *bench) inParallel(n int, do func() error) error {
	turns := make(chan struct{}, n)
	for range n {
		turns <- struct{}{}
	}
	close(turns)
	var all sync.WaitGroup
	failed := make([]error, workers)
	for w := range workers {
		all.Go(func() {
			for range turns {
				if failed[w] = do(); failed[w] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("%w\n%s", err, b.node.LogTail())
	}
	return nil
}

func rateRows(ctx context.Context, o options) (_ []row, err error) {
	o.bridge = benchBridge
	var b bench
	defer b.close(&err)
	if err := b.start(ctx, o); err != nil {
		return nil, err
	}
	t, err := b.takeThroughput(ctx, o.n)
	if err != nil {
		return nil, err
	}
	return []row{{Name: rowRate, N: o.n, Throughput: t}}, nil
}
