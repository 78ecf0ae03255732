package cni

import (
	"slices"
	"time"
)

const (
	// queueMost bounds the time between two tries of an owed DEL: see backOff.
	queueMost = 5 * time.Minute
	// queueAbreast is how many owed DELs run at a time: pods that come and go don't wait for those that are gone.
	queueAbreast = 4
)

// queue tries owed DELs until none is left, and waits for more, until Close.
func (n *Network) queue() {
	for {
		var again <-chan time.Time
		if wait, left := n.tryOwed(); left {
			again = time.After(wait)
		}
		select {
		case <-n.owing:
		case <-again:
		case <-n.life.Done():
			return
		}
	}
}

// tryOwed tries each DEL whose time has come, and says how long it is until the next one's, if any is left.
func (n *Network) tryOwed() (wait time.Duration, left bool) {
	due := n.due(time.Now())
	for batch := range slices.Chunk(due, queueAbreast) {
		var flights []*flight
		n.mu.Lock()
		for _, e := range batch {
			flights = append(flights, n.flyLocked(e))
		}
		n.mu.Unlock()
		for i, f := range flights {
			<-f.done
			if f.err != nil {
				n.mu.Lock()
				failures := batch[i].rec.Failures
				batch[i].next = time.Now().Add(n.backOff(failures))
				n.mu.Unlock()
				n.cfg.Log.Warn("an owed CNI DEL failed again", "pod", batch[i].rec.Pod, "file", batch[i].rec.File, "failures", failures, "next", n.backOff(failures), "error", f.err)
			}
		}
		if n.life.Err() != nil {
			return 0, false
		}
	}
	return n.untilNext()
}

// due are the owed entries whose time has come.
func (n *Network) due(now time.Time) []*entry {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []*entry
	rushed := n.mu.rushed
	n.mu.rushed = false
	for _, e := range n.mu.pods {
		if e.rec.Owed && (rushed || !e.next.After(now)) {
			list = append(list, e)
		}
	}
	return list
}

func (n *Network) untilNext() (wait time.Duration, left bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.mu.pods {
		if !e.rec.Owed {
			continue
		}
		if until := time.Until(e.next); !left || until < wait {
			wait, left = until, true
		}
	}
	return max(wait, 0), left
}

// backOff is how long to wait after so many failures of a DEL, those before it was owed among them: Config.queueLeast after one, twice as long for each
// more.
func (n *Network) backOff(failures int) time.Duration {
	return min(n.cfg.queueLeast<<min(max(failures-1, 0), 16), queueMost)
}
