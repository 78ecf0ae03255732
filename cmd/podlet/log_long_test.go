package main

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// longLinesScript counts on both streams; behind the number i stand 7919*i%40000 letters: lines of up to three parts.
const longLinesScript = `
count() { awk 'BEGIN { x = "x"; while (length(x) < 40000) x = x x; for (i = 0; system("test -e /dev/shm/stop") != 0; ) {
	for (k = 0; k < 200; k++) { print i " " substr(x, 1, i * 7919 % 40000); i++ } fflush() }; print "end " i }'; }
count & count >&2
wait`

// longLines puts the parts of lines together.
type longLines struct {
	begun [2][]byte
	next  [2]int
	ended [2]bool
}

func (l *longLines) take(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for line := range bytes.Lines(text) {
		if len(line) < 41 || line[len(line)-1] != '\n' || line[29] != 'Z' {
			return fmt.Errorf("%s: torn: %.100q", path, line)
		}
		which := 0
		if line[34] == 'e' {
			which = 1
		}
		l.begun[which] = append(l.begun[which], line[40:len(line)-1]...)
		if line[38] == 'P' {
			if len(line) != 41+16384 {
				return fmt.Errorf("%s: a part of %d bytes", path, len(line)-41)
			}
			continue
		}
		whole := l.begun[which]
		l.begun[which] = nil
		if string(whole) == fmt.Sprint("end ", l.next[which]) {
			l.ended[which] = true
			continue
		}
		n := l.next[which]
		want := fmt.Sprint(n, " ")
		if len(whole) != len(want)+n*7919%40000 || !bytes.HasPrefix(whole, []byte(want)) || bytes.Count(whole[len(want):], []byte("x")) != len(whole)-len(want) {
			return fmt.Errorf("%s: line %d of %d bytes: %.50q", path, n, len(whole), whole)
		}
		l.next[which]++
	}
	return nil
}

// TestLogOfLongLinesRotates: the parts of a line may be in two files, one behind the other; none is lost, and none comes twice, though writers are killed.
func TestLogOfLongLinesRotates(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	id := p.start(container("app", "sh", "-c", longLinesScript))
	path, pause := n.status(id).LogPath, n.seenPod(p.id).PID
	const rotations, kills = 200, 10
	writers := 0
	for i := range rotations {
		if err := os.Rename(path, fmt.Sprint(path, ".", i)); err != nil {
			t.Fatal(err)
		}
		if due(uint64(i), kills, rotations) {
			if pid := logWriter(pause); pid > 0 && unix.Kill(pid, unix.SIGKILL) == nil {
				writers++
			}
		}
		n.reopen(id)
	}
	n.stopCounting(id)
	n.ends(path, 2)
	var l longLines
	for i := range rotations {
		if err := l.take(fmt.Sprint(path, ".", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.take(path); err != nil || l.ended != [2]bool{true, true} {
		t.Errorf("ends %v: %v", l.ended, err)
	}
	t.Logf("%d rotations, %d writers killed, %v lines", rotations, writers, l.next)
}
