package main

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	_ "unsafe" // for linkname
)

// dieAfter makes a podlet kill itself, as kill -9 would, right after that many changes of its state on the disk.
const dieAfter = "PODLET_TEST_DIE_AFTER_CHANGES"

// stateChanged is package record's seam.
//
//go:linkname stateChanged podlet/pod/record.changed
var stateChanged func()

func init() {
	most, err := strconv.ParseInt(os.Getenv(dieAfter), 10, 64)
	if err != nil || os.Getenv(asPodlet) == "" {
		return
	}
	var changes atomic.Int64
	stateChanged = func() {
		if changes.Add(1) == most {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
}

// life is all that can happen to a pod, one after the other.
func (c *client) life() error {
	p, err := c.runPod(true)
	if err != nil {
		return err
	}
	short, err := c.startIn(p, 3, 20*time.Millisecond)
	if err != nil {
		return err
	}
	long, err := c.startIn(p, 1, forever)
	if err != nil {
		return err
	}
	if err := c.execTrue(p, long); err != nil {
		return err
	}
	short.end()
	for _, step := range []func() error{
		func() error { return c.remove(p, short) },
		func() error { return c.stop(p, long) },
		func() error { _, err := c.startIn(p, 1, forever); return err },
		func() error { return c.stopPod(p) },
		func() error { return c.removePod(p) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// end waits until somebody has seen the container end, if anybody watches.
func (k *clientContainer) end() {
	for range 200 {
		k.mu.Lock()
		noticed := k.noticed
		k.mu.Unlock()
		if !noticed.IsZero() {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// TestPodletKilledBetweenWrites kills podlet after the first, the second, … of all changes of its state in a pod's life.
func TestPodletKilledBetweenWrites(t *testing.T) {
	if !private(t) {
		return
	}
	n := newNode(t)
	mounts := mountTable()
	times := &timing{ends: map[string]time.Duration{}}
	c := &client{n: n, random: rand.New(rand.NewPCG(1, 1))}
	changes := 1
	for ; ; changes++ {
		n.terminate()
		os.Setenv(dieAfter, strconv.Itoa(changes))
		n.start()
		os.Unsetenv(dieAfter)
		died := c.life() != nil
		n.kill()
		// What runs now ends while no podlet is there.
		time.Sleep(30 * time.Millisecond)
		n.start()
		l := n.agree(mounts)
		c.compare(l, n.status, times)
		if len(c.wrong) > 0 {
			t.Fatalf("after %d changes:\n\t%s\npodlet's log:\n%s", changes, strings.Join(c.wrong, "\n\t"), n.told())
		}
		n.nobodyElses(l, []*client{c})
		n.emptied(mounts)
		c.pods = nil
		if !died {
			break
		}
		if changes > 200 {
			t.Fatal("a pod's life never ends")
		}
	}
	if changes < 15 {
		t.Errorf("a pod's life has %d changes of the state only: the seam doesn't count them", changes-1)
	}
	t.Logf("%d changes; ends: %s", changes-1, times)
}
