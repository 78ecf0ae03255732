package pause

import (
	"errors"
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

// TestLogInTwoSteps: between LOG_READY and LOG_TURN neither file gets anything; without LOG_TURN the old one does after a while.
func TestLogInTwoSteps(t *testing.T) {
	_, c, exits := newPod(t)
	inR, inW := pipe(t)
	outR, outW := pipe(t)
	dir := t.TempDir()
	file := func(name string) *os.File {
		f, err := os.Create(filepath.Join(dir, name))
		must(t, err)
		t.Cleanup(func() { f.Close() })
		return f
	}
	var a assembler
	a.step(unix.SYS_DUP3, a.fd(0), imm(0), imm(0))
	a.step(unix.SYS_DUP3, a.fd(1), imm(1), imm(0))
	a.exec("/bin/cat")
	p := clone(t, c, Clone{ID: testID(1), Kind: KindExec, Tape: a.bytes(2), FDs: []*os.File{inR, outW}, Stdout: outR, Log: file("first")})
	say := func(word string) {
		_, err := inW.WriteString(word + "\n")
		must(t, err)
	}
	// texts are those of the lines of a file.
	texts := func(name string) string {
		all, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		var texts string
		for line := range strings.Lines(string(all)) {
			texts += line[len("2026-11-24T15:04:05.123456789Z stdout F "):]
		}
		return texts
	}
	await := func(name, want string) {
		t.Helper()
		for ctx := limited(t); texts(name) != want; {
			if ctx.Err() != nil {
				t.Fatalf("%s is %q, want %q", name, texts(name), want)
			}
			time.Sleep(time.Millisecond)
		}
	}

	// Before there is any output.
	must(t, c.LogReady(limited(t), p.ID, file("unused")))
	say("zero")
	await("first", "zero\n")
	must(t, c.LogReady(limited(t), p.ID, file("a")))
	must(t, c.LogTurn(limited(t), p.ID))
	say("one")
	await("a", "one\n")
	must(t, c.LogReady(limited(t), p.ID, file("b")))
	say("two")
	must(t, c.LogTurn(limited(t), p.ID))
	await("b", "two\n")
	if got := texts("a"); got != "one\n" {
		t.Errorf("behind LOG_READY the old file got %q", got)
	}
	if err := c.LogTurn(limited(t), p.ID); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a second LOG_TURN: %v", err)
	}
	// podlet dies: a line written meanwhile is not lost.
	must(t, c.LogReady(limited(t), p.ID, file("c")))
	say("three")
	await("b", "two\nthree\n")
	if err := c.LogTurn(limited(t), p.ID); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a LOG_TURN that comes too late: %v", err)
	}
	// The next podlet knows nothing of it.
	must(t, c.LogReady(limited(t), p.ID, file("d")))
	say("four")
	must(t, c.Log(limited(t), p.ID, file("e")))
	say("five")
	await("e", "four\nfive\n")
	// A process may end in between.
	must(t, c.LogReady(limited(t), p.ID, file("f")))
	say("six")
	for _, f := range []*os.File{inR, inW, outR, outW} {
		f.Close()
	}
	if s := <-exits; s.Status != 0 {
		t.Errorf("%+v", s)
	}
	must(t, c.LogTurn(limited(t), p.ID))
	await("f", "six\n")
	for _, name := range []string{"unused", "c", "d"} {
		if got := texts(name); got != "" {
			t.Errorf("%s got %q", name, got)
		}
	}
	must(t, c.Ack(limited(t), p.ID))
}
