package main

import (
	"bytes"
	"fmt"
	"os"
	"testing"
)

// blobScript makes a blob that looks like anything, with its longest line of 3 MB in the middle, and writes it, in pieces of any size.
const blobScript = `
	cd /dev/shm
	{ head -c 1000000 /dev/urandom; head -c 3000000 /dev/urandom | tr '\n' '\r'; head -c 1000000 /dev/urandom; printf '\000\r\n\r\000\n\n\000unfinished'; } > blob
	for i in 0 1 2 3 4; do dd if=blob bs=1000003 skip=$i count=1 2>/dev/null; done
	dd if=blob bs=1000003 skip=5 2>/dev/null; touch written; while ! [ -e stop ]; do sleep 0.01; done`

// TestLogOfBinary: whatever a container writes is in its log byte for byte, lines of megabytes in parts of 16 kB, the last one unfinished; on a terminal as on a pipe.
func TestLogOfBinary(t *testing.T) {
	n := commonNode(t)
	for _, tty := range []bool{false, true} {
		p := n.newPod()
		script := blobScript
		if tty {
			script = "stty raw -echo\n" + script
		}
		config := container("app", "sh", "-c", script)
		config.Tty, config.Stdin = tty, tty
		id := p.start(config)
		shm := fmt.Sprintf("/proc/%d/root/dev/shm", n.seenContainer(id).PID)
		n.soon("the blob is written", func() bool { return size(shm+"/written") == 0 })
		blob, err := os.ReadFile(shm + "/blob")
		if err != nil {
			t.Fatal(err)
		}
		n.stopCounting(id)
		n.wholeLog(id)
		got, err := unframed(n.status(id).LogPath)
		if err != nil {
			t.Fatalf("terminal %v: %v", tty, err)
		}
		if !bytes.Equal(got, blob) {
			t.Errorf("terminal %v: the log has %d bytes, the container wrote %d, and they are the same up to byte %d", tty, len(got), len(blob), sameUpTo(got, blob))
		}
	}
}

func sameUpTo(a, b []byte) (n int) {
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// unframed takes the CRI's frame off a log: what is left is what the container wrote.
func unframed(path string) (all []byte, err error) {
	const part = 16384
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for line := range bytes.Lines(text) {
		if len(line) < 41 || line[len(line)-1] != '\n' || line[29] != 'Z' || line[39] != ' ' {
			return nil, fmt.Errorf("torn: %.100q", line)
		}
		what := line[40:]
		if line[38] == 'P' {
			what = what[:len(what)-1]
		}
		if len(what) > part+1 {
			return nil, fmt.Errorf("a part of %d bytes", len(what))
		}
		all = append(all, what...)
	}
	return all, nil
}
