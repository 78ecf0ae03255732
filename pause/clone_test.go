package pause

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func isLost(err error) bool { return errors.Is(err, ErrLost) }

// writeTape writes text to the tape's fd number `to`.
func writeTape(nfds uint32, to uint64, text string) []byte {
	var a assembler
	a.step(unix.SYS_WRITE, a.fd(to), a.buf([]byte(text)), imm(uint64(len(text))))
	return a.bytes(nfds)
}

func TestRun(t *testing.T) {
	leakChecked(t)
	n, exits := startNursery(t)
	r, w := pipe(t)
	p := clone(t, n.Conn, Clone{ID: testID(1), Kind: KindRun, Tape: writeTape(1, 0, "hello"), FDs: []*os.File{w}})
	w.Close()
	text, err := io.ReadAll(r)
	must(t, err)
	if string(text) != "hello" {
		t.Errorf("it wrote %q", text)
	}
	s := exits.exit(t, p.ID)
	if !s.Status.Exited() || s.Status.ExitStatus() != 0 || s.Err() != nil || s.Kind != KindRun || s.Slot != p.Slot {
		t.Errorf("exit %+v", s)
	}
	status, err := p.Status()
	must(t, err)
	if !status.Done || status.Errno != 0 || status.Step != 0 {
		t.Errorf("status %+v", status)
	}
}

func TestExec(t *testing.T) {
	leakChecked(t)
	n, exits := startNursery(t)
	for code, argv := range [][]string{{"/bin/true"}, {"/bin/false"}, {"/bin/sh", "-c", "exit 2"}} {
		p := clone(t, n.Conn, Clone{ID: testID(byte(code)), Kind: KindExec, Tape: execTape(argv...)})
		s := exits.exit(t, p.ID)
		if s.Status.ExitStatus() != code || s.Err() != nil {
			t.Errorf("%q: exit %+v", argv, s)
		}
	}
}

func TestExecThatRunsOut(t *testing.T) {
	leakChecked(t)
	n, exits := startNursery(t)
	p := clone(t, n.Conn, Clone{ID: testID(1), Kind: KindExec, Tape: new(assembler).bytes(0)})
	wantErrno(t, exits.exit(t, p.ID).Err(), unix.ENOEXEC, 0)
}

func TestForkedApp(t *testing.T) {
	p, c, exits := newPod(t)
	_ = p
	var a assembler
	a.step(unix.SYS_SETSID)
	a.fork()
	a.exec("/bin/sh", "-c", "exit 9")
	app := clone(t, c, Clone{ID: testID(1), Kind: KindExec, Tape: a.bytes(0)})
	status, err := app.Status()
	must(t, err)
	if app.Pid == 0 || status.Pid != app.Pid {
		t.Errorf("pid %d, in the status slot %d", app.Pid, status.Pid)
	}
	if s := exits.exit(t, app.ID); s.Status.ExitStatus() != 9 {
		t.Errorf("exit %+v", s)
	}
}

func TestFailingStep(t *testing.T) {
	leakChecked(t)
	n, exits := startNursery(t)
	var a assembler
	a.step(unix.SYS_GETPID)
	a.stepWith(unix.SYS_CHDIR, 0, noReg, unix.ENOENT, a.str("/ignored/because/missing"))
	a.step(unix.SYS_SETHOSTNAME, a.str("x"), imm(1000))
	a.step(unix.SYS_GETPID)
	p := clone(t, n.Conn, Clone{ID: testID(1), Kind: KindRun, Tape: a.bytes(0)})
	s := exits.exit(t, p.ID)
	wantErrno(t, s.Err(), unix.EINVAL, 2)
	if status, err := p.Status(); err != nil || status.Step != 2 || status.Errno != unix.EINVAL || status.Done {
		t.Errorf("status %+v, %v", status, err)
	}
}

func TestFailingStepBeforeFork(t *testing.T) {
	_, c, _ := newPod(t)
	var a assembler
	a.step(unix.SYS_GETPID)
	a.step(unix.SYS_CHDIR, a.str("/no/such/directory"))
	a.fork()
	a.exec("/bin/true")
	_, err := c.Clone(limited(t), Clone{ID: testID(1), Kind: KindExec, Tape: a.bytes(0)})
	wantErrno(t, err, unix.ENOENT, 1)
	list, err := c.List(limited(t))
	must(t, err)
	if len(list) != 0 {
		t.Errorf("it is listed: %+v", list)
	}
}

func TestRefusedTape(t *testing.T) {
	leakChecked(t)
	n, _ := startNursery(t)
	tape := execTape("/bin/true")
	tape[0] ^= 1
	_, err := n.Clone(limited(t), Clone{ID: testID(1), Kind: KindExec, Tape: tape})
	wantErrno(t, err, unix.EINVAL, StepInvalid)
	_, err = n.Clone(limited(t), Clone{ID: testID(1), Kind: KindExec, Tape: execTape("/bin/true"), FDs: []*os.File{os.Stderr}})
	wantErrno(t, err, unix.EINVAL, StepInvalid)
	_, err = n.Clone(limited(t), Clone{ID: testID(1), Kind: KindExec})
	wantErrno(t, err, unix.EINVAL, StepInvalid)
}

func TestRefusedRequests(t *testing.T) {
	p, c, exits := newPod(t)
	_ = p
	null, err := os.Open("/dev/null")
	must(t, err)
	defer null.Close()
	run := execTape("/bin/true")
	many := make([]*os.File, MaxTapeFDs+1)
	for i := range many {
		many[i] = null
	}
	for name, q := range map[string]Clone{
		"a pause in a pause":          {Kind: KindPause, Tape: run, Listen: null},
		"a gate that is none's":       {Kind: KindRun, Tape: run, Gate: null},
		"an init without a gate":      {Kind: KindInit, Tape: run},
		"an unknown kind":             {Kind: 99, Tape: run},
		"an unknown flag":             {Kind: KindRun, Tape: run, Flags: unix.CLONE_VM},
		"a log without output":        {Kind: KindRun, Tape: run, Log: null},
		"itself":                      {Kind: KindSelf, Tape: run},
		"a name that ps can't show":   {Kind: KindInit, Tape: run, Gate: null, Name: "a\nb"},
		"a tape too large":            {Kind: KindRun, Tape: make([]byte, MaxTapeSize+1)},
		"too many fds":                {Kind: KindRun, Tape: run, FDs: many},
		"a nil file":                  {Kind: KindRun, Tape: run, FDs: []*os.File{nil}},
		"too many cgroups":            {Kind: KindPause, Tape: run, Listen: null, WriterCgroups: many[:MaxWriterCgroups+1]},
		"cgroups without a pause":     {Kind: KindRun, Tape: run, WriterCgroups: many[:1]},
		"a cgroup that is a device":   {Kind: KindRun, Tape: run, Cgroup: null},
		"a namespace of another kind": {Kind: KindRun, Tape: run, Flags: unix.CLONE_NEWUSER | unix.CLONE_FS},
	} {
		q.ID = testID(7)
		if _, err := c.Clone(limited(t), q); err == nil {
			t.Errorf("%s: no error", name)
		} else {
			t.Logf("%s: %v", name, err)
		}
	}
	q := Clone{ID: testID(7), Kind: KindExec, Tape: run}
	clone(t, c, q)
	exits.exit(t, q.ID)
	_, err = c.Clone(limited(t), q)
	wantErrno(t, err, unix.EEXIST, StepNone)
	wantErrno(t, c.Ack(limited(t), testID(8)), unix.ESRCH, StepNone)
	must(t, c.Ack(limited(t), q.ID))
	wantErrno(t, c.Ack(limited(t), q.ID), unix.ESRCH, StepNone)
}

func TestClosedFile(t *testing.T) {
	leakChecked(t)
	n, _ := startNursery(t)
	_, w := pipe(t)
	w.Close()
	_, err := n.Clone(limited(t), Clone{ID: testID(1), Kind: KindRun, Tape: writeTape(1, 0, "x"), FDs: []*os.File{w}})
	if !errors.Is(err, os.ErrClosed) {
		t.Errorf("error %v, want os.ErrClosed", err)
	}
}

// TestManyFDs sends more files than one packet takes, by several senders at once: each must get its own.
func TestManyFDs(t *testing.T) {
	leakChecked(t)
	n, _ := startNursery(t)
	null, err := os.Open("/dev/null")
	must(t, err)
	defer null.Close()
	var all sync.WaitGroup
	for i, count := range []int{600, 249, 250, 251, 1000, MaxTapeFDs} {
		r, w := pipe(t)
		all.Go(func() {
			files := make([]*os.File, count)
			for k := range files {
				files[k] = null
			}
			files[count-1] = w
			text := fmt.Sprintf("I have %d", count)
			p, err := n.Clone(limited(t), Clone{ID: testID(byte(i)), Kind: KindRun, Tape: writeTape(uint32(count), uint64(count-1), text), FDs: files})
			w.Close()
			if err != nil {
				t.Error(err)
				return
			}
			p.PIDFD.Close()
			if got, err := io.ReadAll(r); string(got) != text || err != nil {
				t.Errorf("%q of %q, %v", got, text, err)
			}
		})
	}
	all.Wait()
}

func TestManyAtOnce(t *testing.T) {
	_, c, exits := newPod(t)
	const count = 100
	var all sync.WaitGroup
	for i := range count {
		all.Go(func() {
			p, err := c.Clone(limited(t), Clone{ID: testID(byte(i)), Kind: KindExec, Tape: execTape("/bin/sh", "-c", fmt.Sprintf("exit %d", i))})
			if err != nil {
				t.Error(err)
				return
			}
			p.PIDFD.Close()
			if list, err := c.List(limited(t)); err != nil {
				t.Error(err)
			} else {
				for k := range list {
					list[k].Close()
				}
			}
		})
	}
	all.Wait()
	for range count {
		s := <-exits
		if got := s.Status.ExitStatus(); got != int(s.ID[0]) {
			t.Errorf("process %d exited with %d", s.ID[0], got)
		}
		must(t, c.Ack(limited(t), s.ID))
	}
	if list, err := c.List(limited(t)); err != nil || len(list) != 0 {
		t.Errorf("left: %+v, %v", list, err)
	}
}

// TestGivenUpClone gives up while pause is stopped. The child that comes of it all the same must go, with its record and its files.
func TestGivenUpClone(t *testing.T) {
	p, c, exits := newPod(t)
	stop(t, p)
	r, w := pipe(t)
	var a assembler
	a.step(unix.SYS_WRITE, a.fd(0), a.buf([]byte("x")), imm(1))
	a.step(unix.SYS_PPOLL, imm(0), imm(0), imm(0), imm(0))
	ctx, cancel := context.WithCancel(limited(t))
	failed := make(chan error)
	go func() {
		_, err := c.Clone(ctx, Clone{ID: testID(1), Kind: KindRun, Tape: a.bytes(1), FDs: []*os.File{w}})
		failed <- err
	}()
	waiting(t, c, 1)
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want context.Canceled", err)
	}
	w.Close()
	must(t, Signal(p.PIDFD, unix.SIGCONT))
	if _, err := io.ReadAll(r); err != nil { // ends with the child
		t.Fatal(err)
	}
	eventually(t, "its exit is acknowledged", func() error {
		list, err := c.List(limited(t))
		must(t, err)
		if len(list) > 0 {
			return fmt.Errorf("%+v", list)
		}
		return nil
	})
	select {
	case s := <-exits:
		t.Errorf("onExit heard of it: %+v", s)
	default:
	}
	// Its id is free again.
	clone(t, c, Clone{ID: testID(1), Kind: KindExec, Tape: execTape("/bin/true")})
	exits.exit(t, testID(1))
}

// stop stops pause and returns when it has.
func stop(t testing.TB, p *testPause) {
	t.Helper()
	must(t, Signal(p.PIDFD, unix.SIGSTOP))
	pid, err := PID(p.PIDFD)
	must(t, err)
	stopped(t, pid)
}

// stopped returns when the process that was sent SIGSTOP has stopped.
func stopped(t testing.TB, pid int) {
	t.Helper()
	eventually(t, "it stops", func() error {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		must(t, err)
		if _, state, _ := strings.Cut(string(stat), ") "); !strings.HasPrefix(state, "T") {
			return fmt.Errorf("%.60s", stat)
		}
		return nil
	})
}

// waiting returns when n calls wait for an answer, all of them sent.
func waiting(t testing.TB, c *Conn, n int) {
	t.Helper()
	eventually(t, "calls wait", func() error {
		c.sending <- struct{}{}
		defer func() { <-c.sending }()
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.mu.waiting) != n {
			return fmt.Errorf("%d wait", len(c.mu.waiting))
		}
		return nil
	})
}
