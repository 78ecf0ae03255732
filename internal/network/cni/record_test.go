package cni

import (
	"os"
	"testing"
	"time"
)

// TestTornResult: wherever podlet's death or a power cut tears an ADD's result, the rest of the record holds, and the ADD hasn't ended.
func TestTornResult(t *testing.T) {
	r := newRig(t, "1.0.0", "one")
	conf, err := readConf(r.cfg.ConfDir)
	must(t, err)
	d := records(t.TempDir())
	a := attachment{Pod: "p1", NetNS: here, File: conf.file, Conf: conf.text, Args: "IgnoreUnknown=1", Began: time.Now()}
	must(t, d.save(&a))
	begun, err := os.ReadFile(d.path("p1"))
	must(t, err)
	a.Result = []byte(`{"cniVersion":"1.0.0","ips":[{"address":"192.0.2.5/24"}]}`)
	must(t, d.saveResult(&a))
	whole, err := os.ReadFile(d.path("p1"))
	must(t, err)
	for length := len(begun); length <= len(whole); length++ {
		must(t, os.WriteFile(d.path("p1"), whole[:length], 0o600))
		got, err := readRecord(d.path("p1"))
		if err != nil {
			t.Fatalf("%d bytes of the result: %v", length-len(begun), err)
		}
		want := ""
		if length == len(whole) {
			want = string(a.Result)
		}
		if string(got.Result) != want || got.Pod != "p1" || got.Args != a.Args {
			t.Errorf("%d bytes of the result: %+v", length-len(begun), got)
		}
	}
}
