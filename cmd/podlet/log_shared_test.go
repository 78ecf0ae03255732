package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
)

// turnsScript writes a line, numbered and with a text of its own behind, each time that it is told to.
const turnsScript = `i=0; while ! [ -e /dev/shm/stop ]; do
	if [ -e /dev/shm/turn-$0 ]; then echo $0 $i $1; i=$((i+1)); rm /dev/shm/turn-$0; else sleep 0.002; fi; done`

// TestLogSharedByTwoContainers: two containers of a pod with the same log path write behind each other, not over each other. They take turns: lines that are written at the
// very same moment may meet.
func TestLogSharedByTwoContainers(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	texts := map[string]string{"short": "x", "long": strings.Repeat("y", 3000)}
	names := []string{"short", "long"}
	var ids []string
	for _, name := range names {
		c := container(name, "sh", "-c", turnsScript, name, texts[name])
		c.LogPath = "shared.log"
		ids = append(ids, p.start(c))
	}
	path := n.status(ids[0]).LogPath
	if other := n.status(ids[1]).LogPath; other != path {
		t.Fatalf("logs %s and %s", path, other)
	}
	const rounds = 50
	var want []string
	for i := range rounds {
		for which, name := range names {
			turn := fmt.Sprintf("/proc/%d/root/dev/shm/turn-%s", n.seenContainer(ids[which]).PID, name)
			if err := os.WriteFile(turn, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			line := fmt.Sprint(name, " ", i, " ", texts[name])
			want = append(want, line)
			n.soon(fmt.Sprintf("line %d of %s is in the log", i, name), func() bool {
				text, err := os.ReadFile(path)
				return err == nil && bytes.HasSuffix(text, []byte(" F "+line+"\n")) && size(turn) < 0
			})
		}
	}
	n.stopCounting(ids[0])
	n.exited(ids[1]) // /dev/shm is the pod's
	n.wholeLog(ids[1])
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range bytes.Lines(text) {
		_, words, err := splitFrame(bytes.TrimSuffix(line, []byte("\n")))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(words))
	}
	if len(got) != len(want) {
		t.Fatalf("%d lines of %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("line %d is %.60q of %d bytes and not %.60q", i, got[i], len(got[i]), want[i])
		}
	}
}
