package image

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"testing"
)

// readCpio reads what cpioWriter wrote as the kernel would: "name mode contents" for each entry.
func readCpio(archive []byte) ([]string, error) {
	var entries []string
	at := 0
	align := func() { at = (at + 3) / 4 * 4 }
	for {
		if len(archive) < at+110 || string(archive[at:at+6]) != "070701" {
			return nil, fmt.Errorf("no header at %d", at)
		}
		field := func(i int) int {
			n, err := strconv.ParseUint(string(archive[at+6+8*i:at+14+8*i]), 16, 32)
			if err != nil {
				panic(err)
			}
			return int(n)
		}
		mode, size, nameSize := field(1), field(6), field(11)
		at += 110
		name := archive[at : at+nameSize]
		at += nameSize
		align()
		contents := archive[at : at+size]
		at += size
		align()
		if name[nameSize-1] != 0 {
			return nil, fmt.Errorf("name %q has no end", name)
		}
		if string(name) == "TRAILER!!!\x00" {
			return entries, nil
		}
		entries = append(entries, fmt.Sprintf("%s %o %s", name[:nameSize-1], mode, contents))
	}
}

func TestCpio(t *testing.T) {
	var out bytes.Buffer
	c := &cpioWriter{w: &out}
	c.dir("bin")
	want := []string{"bin 40755 "}
	for i, contents := range []string{"", "1", "12", "123", "1234", "12345"} {
		name := "bin/abcdefgh"[:5+i]
		c.file(name, 0o700+i, []byte(contents))
		want = append(want, fmt.Sprintf("%s 10%04o %s", name, 0o700+i, contents))
	}
	if err := c.end(); err != nil {
		t.Fatal(err)
	}
	got, err := readCpio(out.Bytes())
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v: %q, want %q", err, got, want)
	}
}

type brokenWriter struct{ left int }

var errBroken = errors.New("broken")

func (b *brokenWriter) Write(p []byte) (int, error) {
	if b.left--; b.left < 0 {
		return 0, errBroken
	}
	return len(p), nil
}

// Whichever write fails, end tells.
func TestCpioErrors(t *testing.T) {
	for writes := range 10 {
		c := &cpioWriter{w: &brokenWriter{left: writes}}
		c.file("a", 0o644, []byte("b"))
		if err := c.end(); !errors.Is(err, errBroken) {
			t.Errorf("after %d writes: %v", writes, err)
		}
	}
}
