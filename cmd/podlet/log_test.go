package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// frame is a line of a CRI log.
var frame = regexp.MustCompile(`^(\S+) (stdout|stderr) ([PF]) (.*)\n$`)

// TestLog: what a container writes is in its log, each line with a time of its own, long ones in parts, nothing lost at the end.
func TestLog(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	began := time.Now()
	const long = 40_000
	id := p.start(container("app", "sh", "-c", fmt.Sprintf(`echo out; echo err >&2; printf '%%%dd\n' 7; printf '\377\000\n'; printf unfinished`, long)))
	s := n.exited(id)
	n.wholeLog(id)
	text, err := os.ReadFile(s.LogPath)
	if err != nil {
		t.Fatal(err)
	}
	streams := map[string]string{}
	last := began
	for line := range strings.Lines(string(text)) {
		f := frame.FindStringSubmatch(line)
		if f == nil {
			t.Fatalf("line %.100q", line)
		}
		at, err := time.Parse(time.RFC3339Nano, f[1])
		if err != nil || at.Before(began.Add(-time.Second)) || at.After(time.Now()) {
			t.Errorf("time %s, %v", f[1], err)
		}
		if at.Before(last.Add(-time.Second)) {
			t.Errorf("line of %v after one of %v", at, last)
		}
		last = at
		if len(line) > 16<<10+100 {
			t.Errorf("a line of %d bytes", len(line))
		}
		streams[f[2]] += f[4]
		if f[3] == "F" {
			streams[f[2]] += "\n"
		}
	}
	want := "out\n" + strings.Repeat(" ", long-1) + "7\n\xff\x00\nunfinished"
	if got := strings.TrimSuffix(streams["stdout"], "\n"); got != want || streams["stderr"] != "err\n" {
		t.Errorf("stdout of %d bytes that ends in %.60q, stderr %q", len(got), got[max(0, len(got)-60):], streams["stderr"])
	}
}
