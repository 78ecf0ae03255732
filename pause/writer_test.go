package pause

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// talker is a process under pause that says what it is told, and its log.
type talker struct {
	t    *testing.T
	in   *os.File
	log  *os.File
	said []string
}

func newTalker(t *testing.T, c *Conn) *talker {
	t.Helper()
	inR, inW := pipe(t)
	outR, outW := pipe(t)
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	must(t, err)
	t.Cleanup(func() { log.Close() })
	var a assembler
	a.step(unix.SYS_DUP3, a.fd(0), imm(0), imm(0))
	a.step(unix.SYS_DUP3, a.fd(1), imm(1), imm(0))
	a.exec("/bin/cat")
	clone(t, c, Clone{ID: testID(1), Kind: KindExec, Tape: a.bytes(2), FDs: []*os.File{inR, outW}, Stdout: outR, Log: log})
	for _, f := range []*os.File{inR, outR, outW} {
		f.Close()
	}
	return &talker{t: t, in: inW, log: log}
}

func (k *talker) say(word string) {
	k.t.Helper()
	_, err := k.in.WriteString(word + "\n")
	must(k.t, err)
	k.said = append(k.said, word)
}

// check compares the log with all that was said.
func (k *talker) check() error {
	text, err := os.ReadFile(k.log.Name())
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(lines) != len(k.said) {
		return fmt.Errorf("%d lines in the log, %d were said: %.500q", len(lines), len(k.said), text)
	}
	for i, line := range lines {
		if !strings.HasSuffix(line, " stdout F "+k.said[i]) {
			return fmt.Errorf("line %d is %q, want %q", i, line, k.said[i])
		}
	}
	return nil
}

func (k *talker) logged() {
	k.t.Helper()
	eventually(k.t, "all that was said is in the log", k.check)
}

// writerOf is the pid of a pause's log writer, 0 if it has none.
func writerOf(t *testing.T, p *testPause) int {
	t.Helper()
	pid, err := PID(p.PIDFD)
	must(t, err)
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for word := range strings.FieldsSeq(string(children)) {
		if comm, _ := os.ReadFile("/proc/" + word + "/comm"); string(comm) == "podlet-logger\n" {
			writer, err := strconv.Atoi(word)
			must(t, err)
			return writer
		}
	}
	return 0
}

func killWriter(t *testing.T, p *testPause) {
	t.Helper()
	if pid := writerOf(t, p); pid > 0 {
		unix.Kill(pid, unix.SIGKILL)
	}
}

func inCgroup(path string, pid int) error {
	list, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
	if err == nil && (pid == 0 || strings.TrimSpace(string(list)) != strconv.Itoa(pid)) {
		err = fmt.Errorf("in the cgroup: %q, the writer is %d", list, pid)
	}
	return err
}

func asked(t *testing.T, c *Conn) {
	t.Helper()
	select {
	case <-c.Writer():
	case <-limited(t).Done():
		t.Fatal("pause doesn't tell that it has a log writer without cgroups")
	}
}

// TestWriterIsCharged: pause asks for its log writer's cgroup until it has one. The writer that runs makes way for one in there, and so does the successor of
// one that was killed; no line is lost, and none comes twice.
func TestWriterIsCharged(t *testing.T) {
	leakChecked(t)
	path := testCgroup(t)
	dir, err := os.Open(path)
	must(t, err)
	defer dir.Close()
	n, _ := startNursery(t)
	p := startPause(t, n)
	first := dial(t, p, newEvents().add)
	k := newTalker(t, first)
	k.say("one")
	asked(t, first)
	k.logged()
	// A podlet that comes later is asked, too.
	c := dial(t, p, newEvents().add)
	asked(t, c)
	must(t, c.ChargeWriter(limited(t), WriterCgroups{Into: dir}))
	if err := c.ChargeWriter(limited(t), WriterCgroups{Into: dir}); !errors.Is(err, unix.EEXIST) {
		t.Errorf("a second time: %v", err)
	}
	for i := range 20 {
		k.say(fmt.Sprint("charged ", i))
		k.logged()
	}
	eventually(t, "the writer is in the cgroup", func() error {
		k.say("more")
		return inCgroup(path, writerOf(t, p))
	})
	for i := range 5 {
		killWriter(t, p)
		k.say(fmt.Sprint("killed ", i))
		k.logged()
		eventually(t, "a writer is in the cgroup again", func() error {
			k.say("more")
			return inCgroup(path, writerOf(t, p))
		})
		k.logged()
	}
	select {
	case <-c.Writer():
		t.Error("pause asked for a cgroup that it has")
	default:
	}

	// Somebody removes it while it is empty: pause asks for another one.
	killWriter(t, p)
	eventually(t, "the cgroup goes", func() error { return os.Remove(path) })
	must(t, os.Mkdir(path, 0o755))
	again, err := os.Open(path)
	must(t, err)
	defer again.Close()
	k.say("outside")
	k.logged()
	// Again and again, since a writer that leaves may take a line along that comes in that moment.
	eventually(t, "pause asks for another cgroup", func() error {
		k.say("is there one?")
		select {
		case <-c.Writer():
			return nil
		default:
			return errors.New("it has not asked")
		}
	})
	must(t, c.ChargeWriter(limited(t), WriterCgroups{Into: again}))
	eventually(t, "the writer is in the new cgroup", func() error {
		k.say("again")
		return inCgroup(path, writerOf(t, p))
	})
	k.logged()
}

// TestNurseryHasNoWriter: only a pod's pause can be told where its log writer is to be.
func TestNurseryHasNoWriter(t *testing.T) {
	leakChecked(t)
	n, _ := startNursery(t)
	null, err := os.Open("/dev/null")
	must(t, err)
	defer null.Close()
	if err := n.ChargeWriter(limited(t), WriterCgroups{Join: []*os.File{null}}); !errors.Is(err, unix.EPERM) {
		t.Errorf("ChargeWriter of the nursery: %v", err)
	}
	must(t, n.FlushLogs(limited(t)))
}

// TestFlushLogs: what an ended process wrote is in its log when FLUSH is answered, though its exit was told before; where the writer hangs the answer comes all the same.
func TestFlushLogs(t *testing.T) {
	p, c, exits := newPod(t)
	must(t, c.FlushLogs(limited(t)))
	k := newTalker(t, c)
	k.say("one")
	must(t, c.FlushLogs(limited(t)))
	k.logged()
	writer := writerOf(t, p)
	if writer == 0 {
		t.Fatal("a log was written, and there is no writer")
	}
	must(t, unix.Kill(writer, unix.SIGSTOP))
	defer unix.Kill(writer, unix.SIGCONT)
	stopped(t, writer)
	for i := range 1000 {
		k.say(fmt.Sprint("line ", i))
	}
	k.in.Close()
	exits.exit(t, testID(1))
	if err := k.check(); err == nil {
		t.Fatal("a writer that is stopped writes")
	}
	must(t, c.FlushLogs(limited(t)))
	if err := k.check(); err == nil {
		t.Fatal("a writer that is stopped writes")
	}
	// One at a time.
	answers := make(chan error)
	for range 2 {
		go func() { answers <- c.FlushLogs(limited(t)) }()
	}
	for range 2 {
		if err := <-answers; err != nil && !errors.Is(err, unix.EBUSY) {
			t.Error(err)
		}
	}
	must(t, unix.Kill(writer, unix.SIGCONT))
	eventually(t, "all is in the log when pause says so", func() error {
		must(t, c.FlushLogs(limited(t)))
		return k.check()
	})
	must(t, c.Ack(limited(t), testID(1)))
}
