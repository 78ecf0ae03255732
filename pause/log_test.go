package pause

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestLogAtOnce: several ask for a log's rotation at once, while its process writes without end. Each gets an answer: yes, or that the one before isn't through.
func TestLogAtOnce(t *testing.T) {
	_, c, exits := newPod(t)
	outR, outW := pipe(t)
	dir := t.TempDir()
	file := func(name string) *os.File {
		f, err := os.Create(filepath.Join(dir, name))
		must(t, err)
		return f
	}
	log := file("0")
	var a assembler
	a.step(unix.SYS_DUP3, a.fd(0), imm(1), imm(0))
	a.exec("/usr/bin/yes")
	p := clone(t, c, Clone{ID: testID(1), Kind: KindExec, Tape: a.bytes(1), FDs: []*os.File{outW}, Stdout: outR, Log: log})
	for _, f := range []*os.File{outR, outW, log} {
		f.Close()
	}
	var all sync.WaitGroup
	var turned, busy [4]int
	for who := range turned {
		all.Go(func() {
			for i := range 250 {
				f := file(strconv.Itoa(who*1000 + i + 1))
				err := c.Log(limited(t), p.ID, f)
				f.Close()
				os.Remove(f.Name())
				switch {
				case err == nil:
					turned[who]++
				case errors.Is(err, unix.EBUSY):
					busy[who]++
				default:
					t.Errorf("LOG %d of %d: %v", i, who, err)
					return
				}
			}
		})
	}
	all.Wait()
	t.Logf("turned %v, busy %v", turned, busy)
	if turned == ([4]int{}) {
		t.Error("the log was never turned to another file")
	}
	must(t, Signal(p.PIDFD, unix.SIGKILL))
	<-exits
	must(t, c.Ack(limited(t), p.ID))
}

// readyTime is pause's READY_NS.
const readyTime = 300 * time.Millisecond

// turner is a process under pause that says what it is told, and the files that its log was turned to.
type turner struct {
	t     *testing.T
	c     *Conn
	id    ID
	in    *os.File
	dir   string
	files int
	// now is the file that the log goes to, and has what the lines of each file are to be.
	now string
	has map[string]string
}

func newTurner(t *testing.T, c *Conn, id byte) *turner {
	t.Helper()
	inR, inW := pipe(t)
	outR, outW := pipe(t)
	k := &turner{t: t, c: c, id: testID(id), in: inW, dir: t.TempDir(), has: map[string]string{}}
	var log *os.File
	log, k.now = k.file()
	defer log.Close()
	var a assembler
	a.step(unix.SYS_DUP3, a.fd(0), imm(0), imm(0))
	a.step(unix.SYS_DUP3, a.fd(1), imm(1), imm(0))
	a.exec("/bin/cat")
	clone(t, c, Clone{ID: k.id, Kind: KindExec, Tape: a.bytes(2), FDs: []*os.File{inR, outW}, Stdout: outR, Log: log})
	for _, f := range []*os.File{inR, outR, outW} {
		f.Close()
	}
	return k
}

func (k *turner) file() (f *os.File, name string) {
	k.t.Helper()
	k.files++
	name = strconv.Itoa(k.files)
	f, err := os.Create(filepath.Join(k.dir, name))
	must(k.t, err)
	return f, name
}

// ask gives pause a new file by LOG or LOG_READY. A writer that isn't through with the file before is waited for, as podlet does.
func (k *turner) ask(verb func(context.Context, ID, *os.File) error) (name string) {
	k.t.Helper()
	f, name := k.file()
	defer f.Close()
	eventually(k.t, "pause takes a file", func() error {
		err := verb(limited(k.t), k.id, f)
		if !errors.Is(err, unix.EBUSY) {
			must(k.t, err)
		}
		return err
	})
	return name
}

// say has the process say a word, which is to come into the file.
func (k *turner) say(word, file string) {
	k.t.Helper()
	_, err := k.in.WriteString(word + "\n")
	must(k.t, err)
	k.has[file] += word + "\n"
}

// texts are those of the lines of a file.
func (k *turner) texts(name string) (texts string) {
	k.t.Helper()
	all, err := os.ReadFile(filepath.Join(k.dir, name))
	must(k.t, err)
	for line := range strings.Lines(string(all)) {
		texts += line[min(len(line), len("2026-11-24T15:04:05.123456789Z stdout F ")):]
	}
	return texts
}

// check waits until all that was said is where it is to be, and nothing else is anywhere.
func (k *turner) check() {
	k.t.Helper()
	eventually(k.t, "the log's files have what is theirs", func() error {
		for i := range k.files {
			name := strconv.Itoa(i + 1)
			if got := k.texts(name); got != k.has[name] {
				return fmt.Errorf("file %s is %q, want %q", name, got, k.has[name])
			}
		}
		return nil
	})
}

// once has pause ready for a file, says a word and does what decides on the file of that. end says which file has the word then, "": the old one, since pause
// waits for so long only. On a busy machine it may come too late, and once says so.
func (k *turner) once(word string, end func(ready string) (file string)) (inTime bool) {
	k.t.Helper()
	k.check()
	old, began := k.now, time.Now()
	ready := k.ask(k.c.LogReady)
	_, err := k.in.WriteString(word + "\n")
	must(k.t, err)
	file := end(ready)
	if file != "" {
		k.has[file] = word + "\n" + k.has[file]
		return true
	}
	if took := time.Since(began); took < readyTime {
		k.t.Fatalf("behind LOG_READY pause waited for %s at most", took)
	}
	k.has[old] += word + "\n"
	return false
}

// turned sends LOG_TURN, and gives the file, "" if it came too late.
func (k *turner) turned(ready string) string {
	k.t.Helper()
	err := k.c.LogTurn(limited(k.t), k.id)
	if errors.Is(err, unix.ENOENT) {
		return ""
	}
	must(k.t, err)
	k.now = ready
	return ready
}

// TestLogInTwoSteps: between LOG_READY and LOG_TURN neither file gets anything; without LOG_TURN the old one does after a while.
func TestLogInTwoSteps(t *testing.T) {
	_, c, exits := newPod(t)
	k := newTurner(t, c, 1)
	// Before there is any output.
	k.ask(c.LogReady)
	k.say("zero", k.now)
	for _, word := range []string{"one", "two"} {
		for !k.once(word, k.turned) {
		}
	}
	k.check()
	if err := c.LogTurn(limited(t), k.id); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a second LOG_TURN: %v", err)
	}
	k.say("goes on", k.now)
	k.check()
	// podlet dies: a line written meanwhile is not lost.
	k.ask(c.LogReady)
	k.say("three", k.now)
	k.check()
	if err := c.LogTurn(limited(t), k.id); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a LOG_TURN that comes too late: %v", err)
	}
	// The next podlet knows nothing of it.
	for !k.once("four", func(string) string {
		k.now = k.ask(c.Log)
		k.say("five", k.now)
		eventually(t, "what was said behind LOG is logged", func() error {
			if got := k.texts(k.now); !strings.HasSuffix(got, "five\n") {
				return fmt.Errorf("%q", got)
			}
			return nil
		})
		if k.texts(k.now) == "five\n" {
			return ""
		}
		return k.now
	}) {
	}
	k.check()
	k.in.Close()
	ends := func(k *turner) {
		t.Helper()
		if s := exits.exit(t, k.id); s.Status != 0 {
			t.Errorf("%+v", s)
		}
	}
	ends(k)
	must(t, c.Ack(limited(t), k.id))
	// A process may end in between.
	for inTime, n := false, byte(2); !inTime; n++ {
		k := newTurner(t, c, n)
		k.say("five", k.now)
		inTime = k.once("six", func(ready string) string {
			k.in.Close()
			ends(k)
			return k.turned(ready)
		})
		k.check()
		must(t, c.Ack(limited(t), k.id))
	}
}
