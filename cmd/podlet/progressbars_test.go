package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestBarLines(t *testing.T) {
	for _, c := range []struct {
		row   barRow
		width int
		want  string
	}{
		{barRow{label: "l", n: 5e6, of: 10e6, note: "x"}, 80, "l  [============            ]  5.0 MB of 10.0 MB  x"},
		{barRow{label: "l", n: 20e6, of: 10e6}, 80, "l  [========================]  20.0 MB of 10.0 MB"},
		{barRow{label: "l", n: 5e6, of: -1}, 80, "l  [                        ]  5.0 MB"},
		{barRow{label: "l", n: 0, of: 0}, 80, "l  [                        ]  0.0 MB of 0.0 MB"},
		{barRow{label: "l", n: 5e6, of: 5e6, done: true, note: "3 files"}, 80, "l  [========================]  5.0 MB  3 files"},
		{barRow{label: "läbel", n: 5e6, of: 5e6}, 5, "läbe"},
		{barRow{label: "l"}, 0, ""},
	} {
		if got := c.row.line(c.width); got != c.want {
			t.Errorf("%+v in %d columns: %q, want %q", c.row, c.width, got, c.want)
		}
	}
}

func TestBarsThatFit(t *testing.T) {
	rows := []barRow{{label: "a", done: true}, {label: "b"}, {label: "c", done: true}, {label: "d"}, {label: "e"}}
	for most, want := range map[int]string{9: "abcde", 5: "abcde", 4: "bcde", 3: "bde", 2: "bd", 0: "b", -3: "b"} {
		var got strings.Builder
		for _, r := range fitting(rows, most) {
			got.WriteString(r.label)
		}
		if got.String() != want {
			t.Errorf("%d lines: %s, want %s", most, got.String(), want)
		}
	}
}

// TestBarsWithoutTerminal: each row is told once, when it is done.
func TestBarsWithoutTerminal(t *testing.T) {
	var out bytes.Buffer
	b := newBars(&out)
	b.show([]barRow{{label: "a", n: 1e6, of: 2e6}, {label: "b", of: 1e6}})
	for range 2 {
		b.show([]barRow{{label: "a", n: 2e6, of: 2e6, done: true, note: "x"}, {label: "b", of: 1e6}})
	}
	if out.String() != "a  2.0 MB  x\n" {
		t.Errorf("%q", out.String())
	}
}
