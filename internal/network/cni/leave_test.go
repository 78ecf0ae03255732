package cni

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

const nowhere = "/nowhere/netns"

// TestDelAfterHarm removes plugin, configuration, libcni's cache and namespace in every combination before DEL. The pod goes in any case, and is owed a DEL only
// as long as the plugin is away.
func TestDelAfterHarm(t *testing.T) {
	const plugin, config, cache, netns, record = 1, 2, 4, 8, 16
	for harm := range 32 {
		if harm&record != 0 && harm&(plugin|cache) != 0 {
			continue // nothing is different then
		}
		t.Run(fmt.Sprintf("%05b", harm), func(t *testing.T) {
			r := newRig(t, "1.0.0", "one", "two").open()
			p := pod("p1")
			if harm&netns != 0 {
				p.NetNS = nowhere
			}
			_, err := r.Add(brief(t), p)
			must(t, err)
			before := r.read("conf/10-test.conflist")
			if harm&plugin != 0 {
				r.remove("bin/one")
			}
			if harm&config != 0 {
				r.remove("conf")
			}
			if harm&cache != 0 {
				// Nobody reads it; here so that nobody begins to.
				must(t, os.MkdirAll(r.path("state/results"), 0o700))
				r.write("state/results/net-p1-eth0", "{")
			}
			if harm&record != 0 {
				must(t, os.WriteFile(r.path("state/attachments/p1"), []byte(`{"pod":"p1","con`), 0o600))
				r.again("p1")
			}
			tries := 0
			for err = errors.New("not yet"); err != nil && tries < 10; tries++ {
				err = r.Leave(brief(t), "p1")
			}
			stuck := harm&plugin != 0 || harm&(record|config) == record|config
			most := 1
			if stuck && harm&(netns|record) == 0 {
				most = patience // what is amiss is the caller's to see, as long as it can be put right for the namespace's sake
			}
			if err != nil || tries != most {
				t.Errorf("the pod goes after %d tries, want %d: %v", tries, most, err)
			}
			if got := len(r.records()) > 0; got != stuck {
				t.Errorf("records %q", r.records())
			}
			if stuck && r.Describe().Owed == nil {
				t.Error("nothing is owed")
			}
			// Pods that come are not in its way.
			if harm&(plugin|config) == 0 {
				r.add("p2")
				must(t, r.Leave(brief(t), "p2"))
			}
			r.install("one")
			must(t, os.MkdirAll(r.path("conf"), 0o755))
			r.write("conf/10-test.conflist", before)
			r.soon("nothing is owed any more", func() bool { return len(r.records()) == 0 })
			want := here
			if harm&(netns|record) != 0 {
				want = ""
			}
			if r.called("one DEL p1 "+want+"\n") == 0 {
				t.Error("no DEL of the first plugin")
			}
		})
	}
}

// TestDelKeepsFailing: the first failures are the caller's to see; then the pod goes, the queue tries ever more seldom, and a restart forgets nothing.
func TestDelKeepsFailing(t *testing.T) {
	r := newRig(t, "1.0.0", "one", "two", "three").open()
	r.add("p1")
	r.does("two", "DEL", `echo '{"code":11,"msg":"the agent is away"}'; exit 1`)
	for i := range patience {
		err := r.Leave(brief(t), "p1")
		if i < patience-1 {
			fails(t, err, "CNI DEL by plugin two of 10-test.conflist", "the agent is away")
			if !errors.Is(err, ErrTryAgain) {
				t.Errorf("%v", err)
			}
		} else {
			must(t, err)
		}
	}
	must(t, r.Leave(brief(t), "p1"))
	owed := r.Describe().Owed
	if len(owed) != 1 || owed[0].Pod != "p1" || owed[0].Failures < patience || !strings.Contains(owed[0].Error, "the agent is away") {
		t.Errorf("owed %+v", owed)
	}
	// What the others gave is free all the same.
	r.soon("the first plugin's DEL", func() bool { return r.called("one DEL p1") > 0 })
	failures := func() int {
		if owed := r.Describe().Owed; len(owed) > 0 {
			return owed[0].Failures
		}
		return 0
	}
	before := failures()
	r.soon("more tries", func() bool { return failures() > before })
	before = failures()
	r.again()
	r.soon("more tries of the next podlet", func() bool { return failures() > before })
	if f := failures(); f < before {
		t.Errorf("%d failures, %d before the restart", f, before)
	}
	r.mended("two", "DEL")
	r.soon("the DEL", func() bool { return len(r.records()) == 0 })
	r.soon("the log tells of it", func() bool { return strings.Contains(r.log.String(), "has succeeded") })
	if got := strings.Count(r.log.String(), "a CNI DEL fails"); got != 1 {
		t.Errorf("the log tells %d times that the queue has the DEL", got)
	}
}

func TestBackOff(t *testing.T) {
	n := &Network{cfg: Config{queueLeast: time.Second}}
	for failures, want := range map[int]time.Duration{0: time.Second, 1: time.Second, 2: 2 * time.Second, 4: 8 * time.Second, 10: queueMost, 1 << 40: queueMost} {
		if got := n.backOff(failures); got != want {
			t.Errorf("after %d failures %s, want %s", failures, got, want)
		}
	}
}

// hangsInTime has an ADD in which the second plugin hangs, with as long a deadline as plugins need on this machine to come to that, and gives its error.
func hangsInTime(t *testing.T) (*rig, error) {
	t.Helper()
	for limit := time.Second; ; limit *= 2 {
		r := newRig(t, "1.0.0", "one", "two")
		r.cfg.Timeout = limit
		r.open()
		r.does("two", "ADD", "echo waiting for the agent >&2; "+hang)
		_, err := r.Add(brief(t), pod("p1"))
		if r.pids() != nil || limit > 10*time.Second {
			return r, err
		}
		must(t, r.Close())
	}
}

// TestDeadlines: a plugin that hangs is killed with all it started, the error says when, and the pod goes.
func TestDeadlines(t *testing.T) {
	r, err := hangsInTime(t)
	fails(t, err, "CNI ADD by plugin two of 10-test.conflist: it was ended after", "of "+r.cfg.Timeout.String(), "waiting for the agent")
	if !errors.Is(err, ErrTimeout) || errors.Is(err, context.DeadlineExceeded) {
		// The latter would be the caller's haste.
		t.Errorf("%v", err)
	}
	r.gone(r.pids())
	r.does("two", "DEL", hang)
	for i := range patience {
		if err := r.Leave(brief(t), "p1"); (err != nil) != (i < patience-1) {
			t.Errorf("Leave: %v", err)
		} else if err != nil {
			fails(t, err, "CNI DEL by plugin two of 10-test.conflist: it was ended after")
		}
	}
	// Each has its share of the time: the one that hangs takes nothing from the other.
	r.soon("the first plugin's DEL", func() bool { return r.called("one DEL p1") > 0 })
	r.mended("two", "DEL")
	r.soon("the DEL", func() bool { return len(r.records()) == 0 })
	r.gone(r.pids())
}

// TestDelOutlivesItsCaller: it ends neither with the caller's haste nor twice.
func TestDelOutlivesItsCaller(t *testing.T) {
	r := newRig(t, "1.0.0", "one").open()
	r.add("p1")
	r.does("one", "DEL", `while [ ! -e $dir/go ]; do sleep 0.01; done`)
	ctx, cancel := context.WithCancel(brief(t))
	done := make(chan error, 1)
	go func() { done <- r.Leave(ctx, "p1") }()
	r.soon("the plugin runs", func() bool { return r.called("one DEL p1") > 0 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	go func() { done <- r.Leave(brief(t), "p1") }()
	r.write("work/go", "")
	must(t, <-done)
	if got := r.called("one DEL p1"); got != 1 || len(r.records()) > 0 {
		t.Errorf("%d DELs, records %q", got, r.records())
	}
}

// TestNothingToLeave: a pod that was never added, or whose ADD never ran a plugin, is gone already.
func TestNothingToLeave(t *testing.T) {
	r := newRig(t, "1.0.0", "one").open()
	must(t, r.Leave(brief(t), "p1"))
	must(t, os.RemoveAll(r.path("state/attachments")))
	_, err := r.Add(brief(t), pod("p2"))
	fails(t, err, "record the CNI attachment of pod p2")
	must(t, os.Mkdir(r.path("state/attachments"), 0o700))
	must(t, r.Leave(brief(t), "p2"))
	if calls := r.calls(); len(calls) > 0 {
		t.Errorf("calls %q", calls)
	}
	r.add("p2")
}
