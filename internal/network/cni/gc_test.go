package cni

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestGC: at a podlet's start, and when a configuration comes, plugins are told which pods have attachments: those that are owed a DEL aren't among
// them, and no other plugin runs meanwhile.
func TestGC(t *testing.T) {
	r := newRig(t, "1.1.0", "one", "two").open()
	r.add("p0")
	must(t, r.Leave(brief(t), "p0"))
	if got := r.called("two GC"); got > 0 {
		t.Errorf("%d GC of a network that podlet had not used", got)
	}
	r.again()
	r.soon("GC of nothing", func() bool { return r.called("two GC") == 1 })
	if got := r.input("two", "GC")["cni.dev/valid-attachments"]; fmt.Sprint(got) != "[]" {
		t.Errorf("valid: %v", got)
	}
	for _, id := range []string{"p1", "p2", "p3"} {
		r.add(id)
	}
	r.does("one", "DEL", "exit 1")
	r.again("p1", "p3")
	r.soon("GC", func() bool { return r.called("two GC") == 2 })
	const want = "[map[containerID:p1 ifname:eth0] map[containerID:p3 ifname:eth0]]"
	for _, plugin := range []string{"one", "two"} {
		in := r.input(plugin, "GC")
		for _, key := range []string{"cni.dev/valid-attachments", "cni.dev/attachments"} {
			if got := fmt.Sprint(in[key]); got != want {
				t.Errorf("%s: %s is %v, want %v", plugin, key, got, want)
			}
		}
		if in["name"] != "net" || in["cniVersion"] != "1.1.0" || in["own"] == nil {
			t.Errorf("%s: %v", plugin, in)
		}
		if env := r.read("work/env-" + plugin + "-GC"); strings.Contains(env, "CNI_CONTAINERID") || !strings.Contains(env, "CNI_PATH="+r.path("bin")) {
			t.Errorf("%s: environment %q", plugin, env)
		}
	}
	r.mended("one", "DEL")
	r.soon("the DEL that was owed", func() bool { return len(r.records()) == 2 })

	// A GC waits for plugins that run, and they for it.
	r.does("one", "ADD", `touch $dir/adding; while [ ! -e $dir/go ]; do sleep 0.01; done; rm $dir/adding`)
	done := make(chan error, 1)
	add := func(id string) {
		_, err := r.Add(brief(t), pod(id))
		done <- err
	}
	go add("p4")
	r.soon("the ADD runs", func() bool { return r.called("one ADD p4") == 1 })
	r.does("one", "GC", `[ ! -e $dir/adding ] || touch $dir/together; touch $dir/collecting; while [ ! -e $dir/enough ]; do sleep 0.01; done; rm $dir/collecting`)
	must(t, os.WriteFile(r.path("state/networks/other"), nil, 0o600))
	r.configure("05-other.conflist", strings.Replace(conflist("1.1.0", "one", "two"), `"net"`, `"other"`, 1))
	r.soon("the configuration is read", func() bool { return r.Describe().Network == "other" })
	r.write("work/go", "")
	must(t, <-done)
	r.soon("the GC runs", func() bool { return r.called("one GC") == 3 })
	r.does("one", "ADD", `[ ! -e $dir/collecting ] || touch $dir/together`)
	go add("p5")
	select {
	case err := <-done:
		t.Errorf("an ADD ran beside a GC: %v", err)
	default:
	}
	r.write("work/enough", "")
	must(t, <-done)
	if got := fmt.Sprint(r.input("one", "GC")["cni.dev/valid-attachments"]); got != "[]" {
		t.Errorf("valid of another network: %v", got)
	}
	if _, err := os.Stat(r.path("work/together")); err == nil {
		t.Error("a GC ran beside an ADD")
	}
	if d := r.Describe(); d.LastGC == nil || d.LastGC.Valid != 0 {
		r.soon("GC is told of", func() bool { return r.Describe().LastGC != nil && r.Describe().LastGC.Valid == 0 })
	}
}

// TestNoGC: older configurations and those that don't want it have none, nor a CHECK or STATUS that their version lacks.
func TestNoGC(t *testing.T) {
	for name, text := range map[string]string{
		"1.0.0":    conflist("1.0.0", "one"),
		"disabled": strings.Replace(conflist("1.1.0", "one"), `"name"`, `"disableGC":true,"disableCheck":true,"name"`, 1),
		"0.3.1":    conflist("0.3.1", "one"),
	} {
		r := newRig(t, "", "one")
		r.configure("10-test.conflist", text)
		r.open()
		r.add("p1")
		must(t, r.gc())
		r.again("p1")
		must(t, r.gc())
		r.checkPods([]*entry{r.mu.pods["p1"]})
		must(t, r.Check(brief(t)))
		want := 0
		if name == "1.0.0" {
			want = 1
		}
		if got := r.called("one GC"); got > 0 {
			t.Errorf("%s: %d GC", name, got)
		}
		if got := r.called("one CHECK"); got < want || want == 0 && got > 0 {
			t.Errorf("%s: %d CHECK", name, got)
		}
		if got := r.called("one STATUS") > 0; got != (name == "disabled") {
			t.Errorf("%s: STATUS %v", name, got)
		}
	}
}

// TestGCFails: that is said, and harms nobody.
func TestGCFails(t *testing.T) {
	r := newRig(t, "1.1.0", "one", "two")
	r.does("one", "GC", `echo '{"code":5,"msg":"no disk"}'; exit 1`)
	r.open()
	r.add("p0")
	r.again("p0")
	r.soon("the log tells of it", func() bool { return strings.Contains(r.log.String(), "no disk") })
	if got := r.called("two GC"); got != 1 {
		t.Errorf("%d GC of the second plugin", got)
	}
	r.soon("Describe tells of it", func() bool { d := r.Describe(); return d.LastGC != nil && strings.Contains(d.LastGC.Error, "no disk") })
	r.add("p1")
}

// TestRetired: who only takes back asks plugins nothing, and does so all the same.
func TestRetired(t *testing.T) {
	r := newRig(t, "1.1.0", "one").open()
	r.add("p1")
	r.add("p2")
	r.soon("STATUS", func() bool { return r.called("one STATUS") > 0 })
	r.cfg.Retired = true
	r.again("p1")
	r.soon("a DEL", func() bool { return r.called("one DEL p2") == 1 })
	asked := r.called("one STATUS") + r.called("one GC") + r.called("one CHECK")
	must(t, r.Leave(brief(t), "p1"))
	if got := r.called("one STATUS") + r.called("one GC") + r.called("one CHECK"); got != asked || len(r.records()) > 0 {
		t.Errorf("plugins were asked %d times, %d before; records %q", got, asked, r.records())
	}
}
