package cni

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"podlet/internal/network"
)

// killed leaves things as a podlet does that is killed in the middle of an ADD: a record without a result, and a plugin that runs on. The channel is
// closed when the plugin has ended.
func (r *rig) killed(id, what string) <-chan struct{} {
	r.t.Helper()
	must(r.t, r.Close())
	conf, err := readConf(r.cfg.ConfDir)
	must(r.t, err)
	a := attachment{Pod: id, NetNS: here, File: conf.file, Conf: conf.text, Args: "IgnoreUnknown=1", Began: time.Now()}
	must(r.t, r.Network.records.save(&a))
	return r.leftRunning(what, r.environment("ADD", &a, here), containerEnv+id)
}

// leftRunning is a plugin that nobody waits for, with that environment, of which it has mark once it runs. The channel is closed when it has ended.
func (r *rig) leftRunning(what string, env []string, mark string) <-chan struct{} {
	r.t.Helper()
	cmd := exec.Command("/bin/sh", "-c", what)
	cmd.Env = env
	must(r.t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	r.t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
	})
	// Its environment is its own from the execve on.
	r.soon("the plugin runs", func() bool {
		env, _ := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/environ")
		return strings.Contains(string(env), mark)
	})
	return ended
}

// TestPluginOfAKilledPodlet: an ADD that goes on after podlet's death is waited for, and only then deleted, be the pod known or not.
func TestPluginOfAKilledPodlet(t *testing.T) {
	for _, known := range []bool{false, true} {
		r := newRig(t, "1.0.0", "one").open()
		work := r.path("work")
		ended := r.killed("p1", "until [ -e "+work+"/go ]; do sleep 0.01; done; touch "+work+"/added")
		r.does("one", "DEL", "[ -e $dir/added ] || touch $dir/early")
		var pods []string
		if known {
			pods = []string{"p1"}
		}
		r.open(pods...)
		done := make(chan error, 1)
		if known {
			go func() { done <- r.Leave(brief(t), "p1") }()
		}
		r.soon("it is waited for", func() bool {
			return strings.Contains(r.log.String(), "waiting for CNI plugins") || !known && len(r.records()) == 0
		})
		r.write("work/go", "")
		<-ended
		if known {
			must(t, <-done)
		}
		r.soon("the DEL", func() bool { return len(r.records()) == 0 })
		if _, err := os.Stat(r.path("work/early")); err == nil || r.called("one DEL p1") != 1 {
			t.Errorf("the DEL ran before the plugin had ended, or not once: %q", r.calls())
		}
	}
}

// TestCollectorOfAKilledPodlet: a GC that goes on after podlet's death holds for stale what is added now; so nothing is, until it has ended or was killed.
func TestCollectorOfAKilledPodlet(t *testing.T) {
	for _, hangs := range []bool{false, true} {
		r := newRig(t, "1.1.0", "one").open()
		r.add("p1")
		must(t, r.Close())
		what := "until [ -e " + r.path("work/go") + " ]; do sleep 0.01; done; touch " + r.path("work/collected")
		if hangs {
			what = "exec sleep 1000"
			r.cfg.gcTime = 100 * time.Millisecond
		}
		ended := r.leftRunning(what, r.environment("GC", nil, ""), r.collectorMark())
		r.does("one", "ADD", "[ -e $dir/collected ] || touch $dir/early")
		r.open("p1")
		done := make(chan error, 1)
		go func() {
			_, err := r.Add(brief(t), pod("p2"))
			done <- err
		}()
		r.soon("it is waited for", func() bool {
			return strings.Contains(r.log.String(), "waiting for CNI plugins") || r.called("one ADD p2") > 0
		})
		if !hangs {
			r.write("work/go", "")
		}
		must(t, <-done)
		if hangs {
			r.soon("it is killed", func() bool {
				select {
				case <-ended:
					return true
				default:
					return false
				}
			})
		}
		if _, err := os.Stat(r.path("work/early")); err == nil && !hangs {
			t.Errorf("a pod was added beside the GC: %q", r.calls())
		}
	}
}

// TestPluginOfAKilledPodletHangs: it is killed when its time is over.
func TestPluginOfAKilledPodletHangs(t *testing.T) {
	r := newRig(t, "1.0.0", "one").open()
	r.killed("p1", "exec sleep 1000")
	r.cfg.Timeout = 2 * time.Second // enough for the DEL
	r.open()
	r.soon("the DEL", func() bool { return len(r.records()) == 0 })
	if !strings.Contains(r.log.String(), "killing a CNI plugin") {
		t.Error("the plugin was not killed")
	}
}

// TestChildOfAPluginOfAKilledPodlet: what the plugin started after podlet had looked is ended as well, before the DEL.
func TestChildOfAPluginOfAKilledPodlet(t *testing.T) {
	r := newRig(t, "1.0.0", "one").open()
	r.killed("p1", "until [ -e "+r.path("work/go")+" ]; do sleep 0.01; done; sleep 1000 & echo $! >"+r.path("work/child"))
	r.cfg.Timeout = 2 * time.Second // enough for the DEL
	r.open("p1")
	r.write("work/go", "")
	r.soon("the child runs", func() bool { text, _ := os.ReadFile(r.path("work/child")); return len(text) > 0 })
	child, err := strconv.Atoi(strings.TrimSpace(r.read("work/child")))
	must(t, err)
	t.Cleanup(func() { unix.Kill(child, unix.SIGKILL) })
	r.soon("the DEL", func() bool { return r.Leave(brief(t), "p1") == nil })
	r.gone([]int{child})
}

// TestRecover: pods that are there keep what they have; what no pod has any more is taken back.
func TestRecover(t *testing.T) {
	r := newRig(t, "1.0.0", "one").open()
	for _, id := range []string{"p1", "p2", "p3"} {
		r.add(id)
	}
	r.does("one", "CHECK", `[ $CNI_CONTAINERID != p3 ] || { echo '{"code":999,"msg":"eth0 is gone"}'; exit 1; }`)
	r.again("p1", "p3")
	r.soon("one is taken back", func() bool { return slices.Equal(r.records(), []string{"p1", "p3"}) })
	r.soon("one is found amiss", func() bool {
		return len(r.Describe().Checked) == 1 && r.called("one CHECK p1") == 1 && r.called("one CHECK p3") == 1
	})
	if d := r.Describe(); !strings.Contains(d.Checked["p3"], "eth0 is gone") || d.Pods != 2 {
		t.Errorf("%+v", d)
	}
	if r.called("one CHECK p2") != 0 || r.called("one DEL p2") != 1 {
		t.Errorf("calls %q", r.calls())
	}
	if in := r.input("one", "CHECK"); in["prevResult"] == nil {
		t.Errorf("CHECK without a result: %v", in)
	}
	must(t, r.Leave(brief(t), "p3"))
	if d := r.Describe(); len(d.Checked) > 0 {
		t.Errorf("%+v", d)
	}
}

// TestDamagedRecords: one that can't be read still is a DEL that is owed; others are as they were.
func TestDamagedRecords(t *testing.T) {
	for _, text := range []string{"", "{", `{"pod":"p2","file":"x","conf":{}}`, `{"pod":"p1"}`, `{"pod":"p1","file":"x","conf":{"name":"n"}}`, strings.Repeat("\x00", 4096)} {
		r := newRig(t, "1.0.0", "one").open()
		r.add("p1")
		r.add("p2")
		must(t, r.Close())
		must(t, os.WriteFile(r.path("state/attachments/p1"), []byte(text), 0o600))
		must(t, os.WriteFile(r.path("state/attachments/p3"+network.AsideSuffix), []byte("{"), 0o600))
		must(t, os.WriteFile(r.path("state/attachments/.."+"x"), []byte("{"), 0o600))
		r.open("p1", "p2")
		if got := r.records(); !slices.Equal(got, []string{"..x", "p1", "p2"}) {
			t.Errorf("records %q", got)
		}
		if !strings.Contains(r.log.String(), "the record of a CNI attachment is damaged") {
			t.Errorf("%q: the log does not tell", text)
		}
		must(t, r.Leave(brief(t), "p1"))
		must(t, r.Leave(brief(t), "p2"))
		if r.called("one DEL p1") != 1 || r.called("one DEL p2") != 1 {
			t.Errorf("calls %q", r.calls())
		}
	}
}

// TestPodCIDRs: they outlive a restart, and a damaged file is no harm.
func TestPodCIDRs(t *testing.T) {
	r := newRig(t, "1.0.0", "one").open()
	list := []netip.Prefix{netip.MustParsePrefix("10.5.0.0/24"), netip.MustParsePrefix("fd00:5::/64")}
	must(t, r.SetPodCIDRs(list))
	r.again()
	if got := r.podCIDRs(); !slices.Equal(got, list) {
		t.Errorf("after a restart %v", got)
	}
	r.add("p1")
	if in := r.input("one", "ADD"); in["runtimeConfig"] == nil {
		t.Errorf("%v", in)
	}
	must(t, r.Close())
	r.write("state/pod-cidrs", "10.5.0.0/24\nx")
	r.open("p1")
	if got := r.podCIDRs(); got != nil {
		t.Errorf("of a damaged file %v", got)
	}
}

// TestPodCIDRsOnAFullDisk: what could not be noted is noted when the kubelet says it again.
func TestPodCIDRsOnAFullDisk(t *testing.T) {
	r := newRig(t, "1.0.0", "one").open()
	list := []netip.Prefix{netip.MustParsePrefix("10.5.0.0/24")}
	must(t, os.MkdirAll(r.path("state/pod-cidrs"+network.AsideSuffix+"/in-the-way"), 0o700))
	fails(t, r.SetPodCIDRs(list), "note the pods' CIDR")
	r.remove("state/pod-cidrs" + network.AsideSuffix)
	must(t, r.SetPodCIDRs(list))
	r.again()
	if got := r.podCIDRs(); !slices.Equal(got, list) {
		t.Errorf("after a restart %v", got)
	}
}

// TestCloseKills: no plugin outlives podlet's orderly end, and what it was at is not forgotten.
func TestCloseKills(t *testing.T) {
	r := newRig(t, "1.0.0", "one").open()
	r.add("p1")
	r.does("one", "DEL", hang)
	ctx, cancel := context.WithCancel(brief(t))
	go r.Leave(ctx, "p1")
	r.soon("the plugin runs", func() bool { return r.pids() != nil })
	cancel()
	pids := r.pids()
	must(t, r.Close())
	r.gone(pids)
	r.mended("one", "DEL")
	r.open("p1")
	if d := r.Describe(); d.Pods != 1 || d.Owed != nil {
		t.Errorf("%+v", d)
	}
	must(t, r.Leave(brief(t), "p1"))
}
