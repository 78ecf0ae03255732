package cni

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// failures are those of the DEL that is owed, 0 for none.
func (r *rig) failures() int {
	if owed := r.Describe().Owed; len(owed) > 0 {
		return owed[0].Failures
	}
	return 0
}

// hurry has owed DELs tried now.
func (r *rig) hurry() {
	r.mu.Lock()
	r.mu.rushed = true
	r.mu.Unlock()
	poke(r.owing)
}

// failsAgain waits until an owed DEL has failed once more from its beginning to its end.
func (r *rig) failsAgain() {
	r.t.Helper()
	before := r.failures()
	r.soon("the DEL fails again", func() bool {
		r.hurry()
		return r.failures() > before+1
	})
}

// TestDelIsNotRepeated: what a plugin has taken back may be another pod's, so no other plugin's failure makes it do so again: not for the caller who tries
// again, not for the queue, not for the next podlet.
func TestDelIsNotRepeated(t *testing.T) {
	r := newRig(t, "1.0.0", "one", "two", "three").open()
	r.add("p1")
	r.does("two", "DEL", "exit 1")
	fails(t, r.Leave(brief(t), "p1"), "CNI DEL by plugin two")
	if text := r.read("state/attachments/p1"); !strings.Contains(text, `"deleted":[2]`) {
		t.Errorf("the record: %s", text)
	}
	// A podlet that dies now writes nothing more.
	r.again("p1")
	for range patience - 1 {
		r.Leave(brief(t), "p1")
	}
	r.failsAgain()
	r.again()
	r.failsAgain()
	r.mended("two", "DEL")
	r.soon("the DEL", func() bool {
		r.hurry()
		return len(r.records()) == 0
	})
	if one, three := r.called("one DEL p1"), r.called("three DEL p1"); one != 1 || three != 1 {
		t.Errorf("%d DELs of the first plugin, %d of the third, and no more than one each could do good", one, three)
	}
}

// TestDelBehindAFreedAddress: a plugin whose DEL succeeds only after that of the one before it isn't told addresses which may be another pod's by then.
func TestDelBehindAFreedAddress(t *testing.T) {
	r := newRig(t, "1.0.0", "one", "two").open()
	r.add("p1")
	r.does("two", "DEL", "exit 1")
	for range patience - 1 {
		fails(t, r.Leave(brief(t), "p1"), "CNI DEL by plugin two")
		if r.input("two", "DEL")["prevResult"] == nil {
			t.Error("no prevResult while the address is the pod's")
		}
	}
	must(t, r.Leave(brief(t), "p1")) // the queue has it
	r.soon("the first plugin's DEL", func() bool {
		r.hurry()
		return r.called("one DEL p1") == 1
	})
	if r.input("one", "DEL")["prevResult"] == nil {
		t.Error("no prevResult for the first plugin")
	}
	r.mended("two", "DEL")
	r.soon("the DEL", func() bool {
		r.hurry()
		return len(r.records()) == 0
	})
	if got := r.input("two", "DEL")["prevResult"]; got != nil {
		t.Errorf("the second plugin is told %v", got)
	}
}

// TestDelWhoseRecordStays: when all plugins are done and the record can't be dropped, only that is tried again.
func TestDelWhoseRecordStays(t *testing.T) {
	r := newRig(t, "1.0.0", "one", "two").open()
	r.add("p1")
	r.remove("state/attachments/p1")
	must(t, os.MkdirAll(r.path("state/attachments/p1/in-the-way"), 0o700))
	fails(t, r.Leave(brief(t), "p1"), "drop the record")
	r.remove("state/attachments/p1")
	must(t, r.Leave(brief(t), "p1"))
	if one, two := r.called("one DEL p1"), r.called("two DEL p1"); one != 1 || two != 1 {
		t.Errorf("calls %q", r.calls())
	}
}

// TestDelOfAnUninstalledPlugin: it is given up when nothing but plugins that are gone, and that the network's configuration doesn't name, is left of it.
func TestDelOfAnUninstalledPlugin(t *testing.T) {
	r := newRig(t, "1.0.0", "one", "two").open()
	r.add("p1")
	r.remove("bin/two")
	r.does("one", "DEL", "exit 1")
	for range patience {
		r.Leave(brief(t), "p1")
	}
	stays := func(why string) {
		t.Helper()
		r.failsAgain()
		if got := r.records(); !slices.Contains(got, "p1") {
			t.Fatalf("%s: records %q", why, got)
		}
	}
	configured := func(text string) {
		t.Helper()
		r.configure("10-test.conflist", text)
		r.soon("the configuration is read", func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.mu.conf != nil && strings.Contains(text, r.mu.conf.list.Name) && len(r.mu.conf.list.Plugins) == strings.Count(text, `"type"`)
		})
	}
	stays("the configuration names it")
	configured(conflist("1.0.0", "one"))
	stays("another plugin fails, too")
	configured(conflist("1.0.0", "one", "two"))
	r.mended("one", "DEL")
	r.soon("the first plugin's DEL", func() bool {
		r.hurry()
		return r.called("one DEL p1") > 0 && strings.Contains(r.read("state/attachments/p1"), `"deleted":[0]`)
	})
	stays("the configuration names it again")
	configured(strings.Replace(conflist("1.0.0", "one"), `"net"`, `"other"`, 1))
	stays("that of another network")
	must(t, os.Remove(r.path("conf/10-test.conflist")))
	r.soon("no configuration", func() bool { return r.Describe().File == "" })
	stays("no configuration")
	must(t, os.Symlink("/nowhere", r.path("bin/two")))
	configured(conflist("1.0.0", "one"))
	stays("there is something of its name")
	r.remove("bin/two")
	r.soon("it is given up", func() bool {
		r.hurry()
		return len(r.records()) == 0 && r.Describe().Owed == nil
	})
	r.soon("the log tells of it", func() bool { return strings.Contains(r.log.String(), "is given up") })
	if log := r.log.String(); !strings.Contains(log, "pod=p1 file=10-test.conflist plugins=[two]") || !strings.Contains(log, "level=WARN msg=\"an owed CNI DEL is given up") ||
		strings.Contains(log, "has succeeded") {
		t.Error("the log tells something else")
	}
}

// TestAddThatStartsNoPlugin: where not even the first plugin can be run there is nothing to take back, and no DEL that would fail for the same reason.
func TestAddThatStartsNoPlugin(t *testing.T) {
	for name, harm := range map[string]func(*rig){
		"missing":        func(r *rig) { r.remove("bin/one") },
		"mode":           func(r *rig) { must(r.t, os.Chmod(r.path("bin/one"), 0o644)) },
		"no interpreter": func(r *rig) { r.write("bin/one", "#!/nowhere/sh\n") },
		"no program":     func(r *rig) { r.write("bin/one", "\x00") },
		"being written": func(r *rig) {
			f, err := openForWriting(r.path("bin/one"))
			must(r.t, err)
			r.t.Cleanup(func() { f.Close() })
		},
	} {
		r := newRig(t, "1.0.0", "one", "two").open()
		harm(r)
		_, err := r.Add(brief(t), pod("p1"))
		fails(t, err, "one")
		if !errors.Is(err, ErrNotReady) || !strings.HasPrefix(err.Error(), "CNI ADD by plugin one of 10-test.conflist: ") || (name == "being written") != errors.Is(err, unix.ETXTBSY) {
			t.Errorf("%s: %v", name, err)
		}
		if got := r.records(); len(got) > 0 {
			t.Errorf("%s: records %q", name, got)
		}
		if _, err := os.Stat(r.path("state/networks/net")); err == nil && (name == "missing" || name == "mode") {
			t.Errorf("%s: the network is noted as used", name)
		}
		must(t, r.Leave(brief(t), "p1"))
		if got := r.Describe(); got.Owed != nil || got.Pods != 0 || len(r.calls()) > 0 {
			t.Errorf("%s: %+v, calls %q", name, got, r.calls())
		}
		r.remove("bin/one")
		r.install("one")
		r.add("p1")
	}
}

// TestAddWithoutTime: a plugin that wasn't begun as its time was over has nothing to take back either; that is no fault of the network.
func TestAddWithoutTime(t *testing.T) {
	r := newRig(t, "1.0.0", "one")
	r.cfg.Timeout = time.Nanosecond
	r.open()
	_, err := r.Add(brief(t), pod("p1"))
	if !errors.Is(err, ErrTimeout) || errors.Is(err, ErrNotReady) || len(r.records())+len(r.calls()) > 0 {
		t.Errorf("%v, records %q, calls %q", err, r.records(), r.calls())
	}
}
