package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// numberedLog checks that the files of a log, one after the other, hold what a container counted: all numbers from 0 on, once, in order, each a line that is
// whole, and at the end "end" and how many there were.
type numberedLog struct {
	// ending is what stands behind each number: a terminal's "\r".
	ending string

	next  [2]uint64 // of stdout and stderr
	ended [2]bool
	bytes int64
}

// take checks the next file of the log.
func (l *numberedLog) take(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	l.bytes += int64(len(text))
	for at := 0; at < len(text); {
		n := bytes.IndexByte(text[at:], '\n')
		if n < 0 {
			return fmt.Errorf("%s ends with %q", path, text[at:])
		}
		if err := l.line(text[at : at+n]); err != nil {
			return fmt.Errorf("%s at byte %d: %w", path, at, err)
		}
		at += n + 1
	}
	return nil
}

// ends waits until so many streams have come to their ends in the last file of a log: pause doesn't wait long for a writer when it tells of a container's end. All that
// was written before is in its file then.
func (n *node) ends(path string, streams int) {
	n.t.Helper()
	n.soon("the last line in "+path, func() bool {
		text, err := os.ReadFile(path)
		// Half an end may be written.
		return err == nil && bytes.Count(text, []byte(" F end ")) == streams && bytes.HasSuffix(text, []byte("\n"))
	})
}

// takeEnd is take of the last file of l, once stdout's end is there.
func (n *node) takeEnd(l numberedLog, path string) numberedLog {
	n.t.Helper()
	n.ends(path, 1)
	if err := l.take(path); err != nil || !l.ended[0] {
		n.t.Errorf("%s: end %v: %v", path, l.ended[0], err)
	}
	return l
}

func (l *numberedLog) line(line []byte) error {
	which, text, err := splitFrame(line)
	if err != nil {
		return err
	}
	text, ok := bytes.CutSuffix(text, []byte(l.ending))
	if !ok {
		return fmt.Errorf("torn: %q", line)
	}
	end, isEnd := bytes.CutPrefix(text, []byte("end "))
	if isEnd {
		text = end
	}
	v, err := parseNumber(text)
	if err != nil {
		return fmt.Errorf("torn: %q", line)
	}
	if v != l.next[which] || l.ended[which] {
		return fmt.Errorf("%q where %d was to come", line, l.next[which])
	}
	if isEnd {
		l.ended[which] = true
	} else {
		l.next[which]++
	}
	return nil
}

// splitFrame gives the stream, 0 or 1 for stderr, and the text of a log's line that is whole.
func splitFrame(line []byte) (which int, text []byte, err error) {
	const point, zone, stream, tag, begin = 19, 29, 31, 38, 40
	if len(line) <= begin || line[point] != '.' || line[zone] != 'Z' || line[tag] != 'F' {
		return 0, nil, fmt.Errorf("torn: %q", line)
	}
	if line[stream+len("std")] == 'e' {
		which = 1
	}
	return which, line[begin:], nil
}

// parseNumber is strconv.ParseUint for some millions of lines: it makes no string.
func parseNumber(text []byte) (v uint64, err error) {
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, strconv.ErrSyntax
		}
		v = v*10 + uint64(c-'0')
	}
	return v, nil
}
