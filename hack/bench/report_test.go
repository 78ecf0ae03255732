package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(100 - i)
	}
	for _, test := range []struct {
		times   []time.Duration
		percent int
		want    time.Duration
	}{
		{nil, 50, 0},
		{[]time.Duration{7}, 50, 7},
		{[]time.Duration{7}, 99, 7},
		{[]time.Duration{3, 1, 2}, 50, 2},
		{[]time.Duration{4, 3, 2, 1}, 50, 2},
		{hundred, 50, 50},
		{hundred, 90, 90},
		{hundred, 99, 99},
	} {
		if got := quantile(test.times, test.percent); got != test.want {
			t.Errorf("quantile(%v, %d) = %d, want %d", test.times, test.percent, got, test.want)
		}
	}
}

// What -json prints is read by programs: a row of times has these fields and no others.
func TestJSONOfTimes(t *testing.T) {
	var out bytes.Buffer
	rows := []row{timesRow(rowExec, []time.Duration{10, 20, 30}, []time.Duration{5, 10, 15})}
	if err := report(&out, rows, true); err != nil {
		t.Fatal(err)
	}
	const want = `{"name":"execsync","n":3,"p50_ns":20,"p90_ns":30,"p99_ns":30,"floor_p50_ns":10,"ratio":2}` + "\n"
	if out.String() != want {
		t.Errorf("report printed\n%swant\n%s", out.String(), want)
	}
}

func TestReportOfOtherRows(t *testing.T) {
	rows := []row{
		{Name: rowCrowd, N: 1, P50: 11e6, NoneP50: 10e6, Ratio: 1.1},
		{Name: rowMemory, N: 1, Memory: &memory{Pause: 30e3, Daemon: 20e3, Kernel: 500e3}},
	}
	var text, objects bytes.Buffer
	if err := report(&text, rows, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"11.00", "10.00", "1.10", "pause 30.0 kB PSS", "together 0.050 MB", "kernel memory 500 kB"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, text.String())
		}
	}
	if err := report(&objects, rows, true); err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(&objects)
	for i := range rows {
		var back row
		if err := d.Decode(&back); err != nil {
			t.Fatal(err)
		}
		if back.Name != rows[i].Name {
			t.Errorf("object %d is %q, want %q", i, back.Name, rows[i].Name)
		}
	}
}

// The median of neighbours' differences stands beside the difference of the medians: one long measurement moves neither.
func TestAgainst(t *testing.T) {
	r := againstRow(rowSeccomp, []time.Duration{110, 220, 930}, "start-unconfined", []time.Duration{100, 200, 300})
	want := base{Name: "start-unconfined", P50: 200, P99: 300, MoreP50: 20, MoreP99: 630, More: 20}
	if *r.Base != want || r.P50 != 220 || r.Ratio != 1.1 {
		t.Errorf("the row is %+v against %+v, want %+v", r, *r.Base, want)
	}
}

func TestNotesOfBaseAndThroughput(t *testing.T) {
	rows := []row{
		againstRow(rowRunBridge, []time.Duration{3e6}, rowRunHostnet, []time.Duration{2e6}),
		{Name: rowRate, N: 100, Throughput: &throughput{Workers: 4, Batches: 3, Up: 160.4, Cycle: 120}},
	}
	var text bytes.Buffer
	if err := report(&text, rows, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"+1.000 ms more at p50", "4 workers, 3 batches of 100 pods: 160 pods/s brought up", "120 pods/s brought up, stopped and removed"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, text.String())
		}
	}
}

func TestWorkersShareTheTurns(t *testing.T) {
	var b bench
	var done atomic.Int64
	if err := b.inParallel(10*workers, func() error { done.Add(1); return nil }); err != nil || done.Load() != 10*workers {
		t.Errorf("%d turns were taken (%v), want %d", done.Load(), err, 10*workers)
	}
}

func TestRowsAreChosenByName(t *testing.T) {
	o, err := parse([]string{"-run", "^pod-", "-n", "3"})
	if err != nil {
		t.Fatal(err)
	}
	if !wanted(o, []string{rowExec, rowDown}) || wanted(o, []string{rowMemory}) || o.n != 3 {
		t.Errorf("-run ^pod- -n 3 became %+v", o)
	}
	for _, bad := range [][]string{{"-run", "("}, {"-n", "0"}, {"extra"}} {
		if _, err := parse(bad); err == nil {
			t.Errorf("parse(%q) succeeded", bad)
		}
	}
}
