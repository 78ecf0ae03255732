package cni

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestStatus: what plugins say decides whether pods can be added; nobody who asks waits for a plugin.
func TestStatus(t *testing.T) {
	r := newRig(t, "1.1.0", "one", "two")
	r.cfg.statusTime = time.Hour // so that whoever waits for a plugin that hangs waits for ever
	r.does("two", "STATUS", `echo '{"code":50,"msg":"the agent starts"}'; exit 1`)
	r.open()
	err := r.Check(brief(t))
	fails(t, err, "CNI STATUS by plugin two of 10-test.conflist", "the agent starts", "code 50: the plugin can't add pods")
	if !errors.Is(err, ErrNotReady) {
		t.Errorf("%v", err)
	}
	r.does("two", "STATUS", `echo '{"code":51,"msg":"the agent is lost"}'; exit 1`)
	r.soon("another answer", func() bool {
		err := r.Check(brief(t))
		return err != nil && strings.Contains(err.Error(), "limited connectivity")
	})
	// A pod may try all the same (spec: STATUS does not prevent other requests).
	r.add("p1")
	r.mended("two", "STATUS")
	r.soon("ready", func() bool { return r.Check(brief(t)) == nil })
	if env := r.read("work/env-one-STATUS"); strings.Contains(env, "CNI_CONTAINERID") {
		t.Errorf("environment %q", env)
	}
	// While a plugin hangs its last word counts, until it is killed.
	r.does("one", "STATUS", hang)
	r.soon("it hangs", func() bool { return r.pids() != nil })
	must(t, r.Check(brief(t)))
}

// TestStatusHangs: one that hangs from the start is no answer, and its processes end with their time.
func TestStatusHangs(t *testing.T) {
	r := newRig(t, "1.1.0", "one")
	r.cfg.statusTime, r.cfg.statusEvery = time.Hour, time.Hour
	r.does("one", "STATUS", hang)
	r.open()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	fails(t, r.Check(ctx), "10-test.conflist", "have not answered a CNI STATUS yet")
	r.soon("it hangs", func() bool { return r.pids() != nil })
	pids := r.pids()
	must(t, r.Close())
	r.gone(pids)
	r.cfg.statusTime = 200 * time.Millisecond
	r.open()
	fails(t, r.Check(brief(t)), "CNI STATUS by plugin one of 10-test.conflist: it was ended after")
	r.gone(r.pids())
}

// TestPluginIsMissing: that pods can't be added for want of a plugin is known before one tries.
func TestPluginIsMissing(t *testing.T) {
	r := newRig(t, "1.0.0", "one", "two").open()
	must(t, r.Check(brief(t)))
	r.remove("bin/two")
	err := r.Check(brief(t))
	fails(t, err, "10-test.conflist", `plugin "two"`, r.path("bin"))
	if !errors.Is(err, ErrNotReady) {
		t.Errorf("%v", err)
	}
	r.install("two")
	must(t, r.Check(brief(t)))
}
