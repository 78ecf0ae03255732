package pause

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var writerKills = flag.Int("writer-kills", 20, "log writers that TestWriterKilledAnywhere kills; the soak is 5000")

// TestWriterKilledAnywhere: processes that write as fast as they can never come to a halt, and no line of theirs is lost, doubled or torn, though log
// writers are killed at random moments, are sent into a cgroup, and files are turned.
func TestWriterKilledAnywhere(t *testing.T) {
	path := testCgroup(t)
	p, c, exits := newPod(t)
	group, err := os.Open(path)
	must(t, err)
	defer group.Close()
	dir := t.TempDir()
	stop := filepath.Join(dir, "stop")
	var counters [3]*counter
	for i := range counters {
		counters[i] = newCounter(t, c, dir, byte(i+1), stop)
	}
	charged := rand.IntN(*writerKills)
	for kill := range *writerKills {
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
		if kill == charged {
			must(t, c.ChargeWriter(limited(t), WriterCgroups{Into: group}))
		}
		if k := counters[rand.IntN(len(counters))]; kill%3 == 0 {
			k.turn(c)
		}
		killWriter(t, p)
		if kill%8 != 7 {
			continue
		}
		for _, k := range counters {
			k.getsOn()
		}
	}
	must(t, os.WriteFile(stop, nil, 0o600))
	for range counters {
		select {
		case s := <-exits:
			if s.DroppedLines != 0 {
				t.Errorf("%d lines lost", s.DroppedLines)
			}
		case <-limited(t).Done():
			t.Fatal("the processes don't end")
		}
	}
	for _, k := range counters {
		eventually(t, "the log is whole", k.check)
		must(t, c.Ack(limited(t), k.id))
	}
}

// counter is a process that counts, ten thousand lines a write, until a file says stop.
type counter struct {
	t     *testing.T
	id    ID
	dir   string
	name  byte
	files int
}

func newCounter(t *testing.T, c *Conn, dir string, name byte, stop string) *counter {
	t.Helper()
	k := &counter{t: t, id: testID(name), dir: dir, name: name}
	outR, outW := pipe(t)
	log := k.file()
	var a assembler
	a.step(unix.SYS_DUP3, a.fd(0), imm(1), imm(0))
	a.exec("/bin/sh", "-c", "i=0; while ! [ -e "+stop+" ]; do seq $i $((i+9999)); i=$((i+10000)); done; echo end $i")
	clone(t, c, Clone{ID: k.id, Kind: KindExec, Tape: a.bytes(1), FDs: []*os.File{outW}, Stdout: outR, Log: log})
	for _, f := range []*os.File{outR, outW, log} {
		f.Close()
	}
	return k
}

func (k *counter) path(i int) string { return filepath.Join(k.dir, fmt.Sprint("log", k.name, ".", i)) }

func (k *counter) file() *os.File {
	k.t.Helper()
	f, err := os.Create(k.path(k.files))
	must(k.t, err)
	k.files++
	return f
}

// turn has the log go on in another file.
func (k *counter) turn(c *Conn) {
	k.t.Helper()
	f := k.file()
	defer f.Close()
	eventually(k.t, "LOG is answered", func() error {
		err := c.Log(limited(k.t), k.id, f)
		if !errors.Is(err, unix.EBUSY) {
			must(k.t, err)
		}
		return err
	})
}

func (k *counter) size() (n int64) {
	for i := range k.files {
		st, err := os.Stat(k.path(i))
		must(k.t, err)
		n += st.Size()
	}
	return n
}

// getsOn waits until more is logged than the ring and the pipe to it hold.
func (k *counter) getsOn() {
	k.t.Helper()
	was := k.size()
	eventually(k.t, fmt.Sprint("the log of process ", k.name, " grows"), func() error {
		if now := k.size(); now < was+3<<19 {
			return fmt.Errorf("by %d bytes", now-was)
		}
		return nil
	})
}

func (k *counter) check() error {
	next := 0
	for i := range k.files {
		text, err := os.ReadFile(k.path(i))
		if err != nil {
			return err
		}
		for line := range bytes.Lines(text) {
			_, number, ok := bytes.Cut(line, []byte(" stdout F "))
			if !ok {
				return fmt.Errorf("file %d, behind %d: %q", i, next, line)
			}
			if string(number) == fmt.Sprintf("end %d\n", next) && i == k.files-1 {
				return nil
			}
			if n, err := strconv.Atoi(string(bytes.TrimSuffix(number, []byte("\n")))); err != nil || n != next {
				return fmt.Errorf("file %d: %q where %d was due", i, line, next)
			}
			next++
		}
	}
	return fmt.Errorf("no end behind %d lines", next)
}
