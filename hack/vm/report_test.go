package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"podlet/hack/vm/wire"
)

// What go test writes, as it writes it.
func TestReport(t *testing.T) {
	second := time.Second
	for _, c := range []struct {
		what   string
		all    bool
		output string
		tell   func(r *report)
		want   string
		failed bool
	}{
		{"passed", false, "PASS\n", func(r *report) { r.ended("p", wire.Exit{Elapsed: 1234 * time.Millisecond}) }, "ok  \tp\t1.234s\n", false},
		{"passed, all shown", true, "--- PASS: T\nPASS\n", func(r *report) { r.ended("p", wire.Exit{Elapsed: second}) }, "--- PASS: T\nPASS\nok  \tp\t1.000s\n", false},
		{"nothing to run", false, "testing: warning: no tests to run\nPASS\n", func(r *report) { r.ended("p", wire.Exit{Elapsed: second}) }, "ok  \tp\t1.000s [no tests to run]\n", false},
		{"failed", false, "--- FAIL: T\nFAIL\n", func(r *report) { r.ended("p", wire.Exit{Code: 1, Elapsed: second}) }, "--- FAIL: T\nFAIL\nFAIL\tp\t1.000s\n", true},
		{"failed, all shown", true, "--- FAIL: T\nFAIL\n", func(r *report) { r.ended("p", wire.Exit{Code: 1, Elapsed: second}) }, "--- FAIL: T\nFAIL\nFAIL\tp\t1.000s\n", true},
		{"panicked in a line", false, "panic: x", func(r *report) { r.ended("p", wire.Exit{Code: 2, Elapsed: second}) }, "panic: x\nexit status 2\nFAIL\tp\t1.000s\n", true},
		{"killed", false, "", func(r *report) {
			r.ended("p", wire.Exit{Code: 137, Problem: "killed by SIGKILL", Elapsed: second})
		}, "p: killed by SIGKILL\nFAIL\tp\t1.000s\n", true},
		{"passed, but left a process", false, "PASS\n", func(r *report) {
			r.ended("p", wire.Exit{Code: 1, Problem: "left a process", Elapsed: second})
		}, "PASS\np: left a process\nFAIL\tp\t1.000s\n", true},
		{"lost", false, "half a line", func(r *report) { r.lost("p", errors.New("the guest went off"), second) }, "half a line\nthe guest went off\nFAIL\tp\t1.000s\n", true},
		{"hung", false, "half a line", func(r *report) { r.hung("p", errors.New("the guest hung"), second) }, "half a line\nthe guest hung\nHUNG\tp\t1.000s: its tests are run once more, in another machine\n", false},
		{"not built", false, "", func(r *report) { r.unbuilt("p", "# p [p.test]\na.go:1: no\n") }, "# p [p.test]\na.go:1: no\nFAIL\tp [build failed]\n", true},
		{"not listed", false, "", func(r *report) { r.unbuilt("p", "no such directory") }, "# p\nno such directory\nFAIL\tp [build failed]\n", true},
		{"without tests", false, "", func(r *report) { r.untested("p") }, "?   \tp\t[no test files]\n", false},
	} {
		t.Run(c.what, func(t *testing.T) {
			var out bytes.Buffer
			r := &report{out: &out, all: c.all}
			// In two parts, as it comes.
			half := len(c.output) / 2
			io.WriteString(r, c.output[:half])
			io.WriteString(r, c.output[half:])
			c.tell(r)
			if out.String() != c.want {
				t.Errorf("it says %q, want %q", out.String(), c.want)
			}
			// Nothing of one package is told of the next.
			out.Reset()
			r.ended("next", wire.Exit{Code: 1, Elapsed: second})
			if want := "FAIL\tnext\t1.000s\n"; out.String() != want {
				t.Errorf("then %q, want %q", out.String(), want)
			}
		})
	}
}

// A package's second try makes good that its machine hung, and nothing else.
func TestFinishHung(t *testing.T) {
	for output, failed := range map[string]bool{"--- PASS: A\n": false, "--- FAIL: A (0.1s)\n": true} {
		var out bytes.Buffer
		r := &report{out: &out}
		for _, b := range []byte(output) {
			r.Write([]byte{b})
		}
		r.hung("p", errors.New("the guest hung"), time.Second)
		io.WriteString(r, "PASS\n")
		r.ended("p", wire.Exit{})
		out.Reset()
		if err := r.finish(); (err != nil) != failed || !strings.HasPrefix(out.String(), "a machine hung while it ran p\n") {
			t.Errorf("after %q: %v, %q", output, err, out.String())
		}
	}
}

func TestFinish(t *testing.T) {
	var out bytes.Buffer
	r := &report{out: &out}
	r.ended("good", wire.Exit{})
	if err := r.finish(); err != nil {
		t.Error(err)
	}
	r.ended("bad", wire.Exit{Code: 1})
	r.ended("good", wire.Exit{})
	out.Reset()
	var code exitCode
	if err := r.finish(); !errors.As(err, &code) || code != 1 || out.String() != "FAIL\n" {
		t.Errorf("%v, %q", err, out.String())
	}
}
