package pause

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestPauseHasAGuard(t *testing.T) {
	p, c, exits := newPod(t)
	pid, err := PID(p.PIDFD)
	must(t, err)
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	must(t, err)
	if got := strings.TrimRight(string(cmdline), "\x00"); got != "podlet-pause test-pod" {
		t.Errorf("command line %q", got)
	}
	pause, err := NamespacesOf(p.PIDFD)
	must(t, err)
	self := clone(t, c, Clone{ID: testID(1), Kind: KindRun, Flags: unix.CLONE_NEWPID, Tape: sleeper()})
	child, err := NamespacesOf(self.PIDFD)
	must(t, err)
	if pause.PID == child.PID || pause.Net != child.Net || pause.IPC != child.IPC || pause.UTS != child.UTS {
		t.Errorf("pause %+v, child %+v", pause, child)
	}
	// The kernel takes the pod back with its pause.
	must(t, Signal(p.PIDFD, unix.SIGKILL))
	must(t, Exited(limited(t), self.PIDFD))
	<-c.Done()
	if _, err := c.List(limited(t)); !isLost(err) {
		t.Errorf("List: %v, want ErrLost", err)
	}
	if len(exits) > 0 {
		t.Errorf("an exit: %+v", <-exits)
	}
}

func TestPauseDeathIsTheNurserysNews(t *testing.T) {
	leakChecked(t)
	n, exits := startNursery(t)
	p := startPause(t, n)
	must(t, Signal(p.PIDFD, unix.SIGKILL))
	s := exits.exit(t, p.ID)
	if !s.Status.Signaled() || s.Status.Signal() != unix.SIGKILL || s.Kind != KindPause {
		t.Errorf("exit %+v", s)
	}
	must(t, n.Ack(limited(t), p.ID))
	if _, err := Dial(limited(t), p.path, nil); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("Dial: %v, want ECONNREFUSED", err)
	}
}

func TestPauseThatNeverServes(t *testing.T) {
	leakChecked(t)
	n, exits := startNursery(t)
	path := t.TempDir() + "/sock"
	sock, err := Listen(path)
	must(t, err)
	defer sock.Close()
	var a assembler
	a.step(unix.SYS_CHDIR, a.str("/no/such/directory"))
	p := clone(t, n.Conn, Clone{ID: testID(1), Kind: KindPause, Tape: a.bytes(0), Listen: sock})
	wantErrno(t, exits.exit(t, p.ID).Err(), unix.ENOENT, 0)
	sock.Close()
	if _, err := Dial(limited(t), path, nil); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("Dial: %v, want ECONNREFUSED", err)
	}
}

func TestPauseOutlivesNurseryAndPodlet(t *testing.T) {
	leakChecked(t)
	n, _ := startNursery(t)
	p := startPause(t, n)
	must(t, n.Close())
	c := dial(t, p, nil)
	_, err := c.List(limited(t))
	must(t, err)
	// Nobody of this test reaps it now: init does.
	must(t, Signal(p.PIDFD, unix.SIGKILL))
	<-c.Done()
}

// TestExitRecords: what happens while podlet is away is there when it is back, until it says that it knows.
func TestExitRecords(t *testing.T) {
	p, first, _ := newPod(t)
	r, w := pipe(t)
	start := time.Now()
	var a assembler
	a.step(unix.SYS_READ, a.fd(0), a.buf(make([]byte, 8)), imm(1))
	a.exec("/bin/sh", "-c", "exit 5")
	ends := clone(t, first, Clone{ID: testID(1), Kind: KindExec, Tape: a.bytes(1), FDs: []*os.File{r}})
	stays := clone(t, first, Clone{ID: testID(2), Kind: KindRun, Tape: sleeper()})
	must(t, first.Close())
	w.Close() // EOF: it goes on
	must(t, Exited(limited(t), ends.PIDFD))

	for range 2 {
		c := dial(t, p, nil)
		var list []State
		eventually(t, "the exit is known", func() error { // pause may not have reaped it yet
			var err error
			list, err = c.List(limited(t))
			must(t, err)
			for i := range list {
				list[i].Close()
			}
			if len(list) != 2 || list[0].Running {
				return fmt.Errorf("%+v", list)
			}
			return nil
		})
		ended, lives := list[0], list[1]
		if ended.ID != ends.ID || ended.Kind != KindExec || ended.Status.ExitStatus() != 5 || ended.Err() != nil || ended.Slot != ends.Slot {
			t.Errorf("exit record %+v", ended)
		}
		if ended.Started.Before(start.Add(-time.Second)) || ended.Exited.Before(ended.Started) || ended.Exited.After(time.Now().Add(time.Second)) {
			t.Errorf("started %v, exited %v, test started %v", ended.Started, ended.Exited, start)
		}
		if lives.ID != stays.ID || !lives.Running || lives.Kind != KindRun || !lives.Exited.IsZero() {
			t.Errorf("running process %+v", lives)
		}
		must(t, c.Close())
	}

	e := newEvents()
	c := dial(t, p, e.add)
	wantErrno(t, c.Ack(limited(t), stays.ID), unix.EBUSY, StepNone)
	must(t, c.Ack(limited(t), ends.ID))
	list, err := c.List(limited(t))
	must(t, err)
	if len(list) != 1 || list[0].ID != stays.ID {
		t.Fatalf("after the acknowledgement: %+v", list)
	}
	// Recovery's way to a process: the pidfd that List gives.
	must(t, Signal(list[0].PIDFD, unix.SIGKILL))
	list[0].Close()
	if s := e.exit(t, stays.ID); s.Status.Signal() != unix.SIGKILL {
		t.Errorf("exit %+v", s)
	}
}

func TestYoungerConnectionWins(t *testing.T) {
	p, first, _ := newPod(t)
	second := dial(t, p, nil)
	<-first.Done()
	if err := first.Err(); !isLost(err) {
		t.Errorf("the first: %v, want ErrLost", err)
	}
	_, err := first.Clone(limited(t), Clone{ID: testID(1), Kind: KindExec, Tape: execTape("/bin/true")})
	if !isLost(err) {
		t.Errorf("Clone on the first: %v, want ErrLost", err)
	}
	_, err = second.List(limited(t))
	must(t, err)
}

// TestLaterField: a field that this pause doesn't know must not be lost in silence.
func TestLaterField(t *testing.T) {
	p, c, _ := newPod(t)
	_ = p
	for _, set := range []bool{false, true} {
		k := &call{request: "ACK", id: testID(1), want: typeDone}
		seq, err := c.expect(k)
		must(t, err)
		m := append(encode(&msgID{ID: testID(1)}, typeAck, seq), make([]byte, 8)...)
		m[0] = byte(len(m))
		want := unix.ESRCH
		if set {
			m[len(m)-1], want = 1, unix.E2BIG
		}
		must(t, c.send(limited(t), []packet{{m, nil}}))
		_, err = c.await(limited(t), k)
		wantErrno(t, err, want, StepNone)
	}
}

func TestCloseFailsWhatWaits(t *testing.T) {
	p, c, _ := newPod(t)
	stop(t, p)
	failed := make(chan error)
	for range 3 {
		go func() {
			_, err := c.List(context.Background())
			failed <- err
		}()
	}
	waiting(t, c, 3)
	must(t, c.Close())
	for range 3 {
		if err := <-failed; !errors.Is(err, ErrClosed) {
			t.Errorf("error %v, want ErrClosed", err)
		}
	}
	must(t, c.Close())
	if err := c.Ack(limited(t), testID(1)); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v, want ErrClosed", err)
	}
	if _, err := c.Status(0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Status after Close: %v, want os.ErrClosed", err)
	}
}

func TestKilledPauseFailsWhatWaits(t *testing.T) {
	p, c, _ := newPod(t)
	stop(t, p)
	failed := make(chan error)
	go func() {
		_, err := c.List(context.Background())
		failed <- err
	}()
	waiting(t, c, 1)
	must(t, Signal(p.PIDFD, unix.SIGKILL))
	if err := <-failed; !isLost(err) {
		t.Errorf("error %v, want ErrLost", err)
	}
}

// TestFullSocket: a pause that doesn't read keeps a call no longer than its context, and when it reads again all is well.
func TestFullSocket(t *testing.T) {
	p, c, _ := newPod(t)
	stop(t, p)
	for full := false; !full; {
		k := &call{request: "LIST", want: typeDone}
		seq, err := c.expect(k)
		must(t, err)
		must(t, c.raw.Control(func(fd uintptr) {
			_, err = unix.SendmsgN(int(fd), encode(&msgHeader{}, typeList, seq), nil, nil, unix.MSG_DONTWAIT)
		}))
		if full = errors.Is(err, unix.EAGAIN); full {
			err = c.unsent(k, seq, err)
			if !errors.Is(err, unix.EAGAIN) {
				t.Error(err)
			}
			break
		}
		must(t, err)
	}
	ctx, cancel := context.WithTimeout(limited(t), 20*time.Millisecond)
	defer cancel()
	if err := c.Ack(ctx, testID(1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Ack: %v, want context.DeadlineExceeded", err)
	}
	must(t, Signal(p.PIDFD, unix.SIGCONT))
	_, err := c.List(limited(t))
	must(t, err)
}

// TestBrokenRequest: of a request of many packets only some fit. The rest would be taken for another's, so the connection can't go on.
func TestBrokenRequest(t *testing.T) {
	p, c, _ := newPod(t)
	stop(t, p)
	must(t, c.raw.Control(func(fd uintptr) {
		if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 1); err != nil { // the least there is: some packets
			t.Error(err)
		}
	}))
	null, err := os.Open("/dev/null")
	must(t, err)
	defer null.Close()
	files := make([]*os.File, MaxTapeFDs)
	for i := range files {
		files[i] = null
	}
	ctx, cancel := context.WithCancel(limited(t))
	failed := make(chan error)
	go func() {
		_, err := c.Clone(ctx, Clone{ID: testID(1), Kind: KindRun, Tape: new(assembler).bytes(MaxTapeFDs), FDs: files})
		failed <- err
	}()
	eventually(t, "some packets are sent", func() error {
		p := []unix.PollFd{{Events: unix.POLLOUT}}
		must(t, c.raw.Control(func(fd uintptr) {
			p[0].Fd = int32(fd)
			_, err = unix.Poll(p, 0)
		}))
		if p[0].Revents&unix.POLLOUT != 0 {
			return errors.New("the socket has room")
		}
		return err
	})
	cancel()
	if err := <-failed; !isLost(err) || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want ErrLost for context.Canceled", err)
	}
	<-c.Done()
	must(t, Signal(p.PIDFD, unix.SIGCONT))
	again := dial(t, p, nil)
	list, err := again.List(limited(t))
	must(t, err)
	if len(list) != 0 {
		t.Errorf("half a request started %+v", list)
	}
}

func TestOnExitMayUseTheConnection(t *testing.T) {
	leakChecked(t)
	n, _ := startNursery(t)
	p := startPause(t, n)
	ready, acked := make(chan *Conn, 1), make(chan error, 1)
	c := dial(t, p, func(s State) {
		c := <-ready
		acked <- c.Ack(context.Background(), s.ID)
	})
	ready <- c
	clone(t, c, Clone{ID: testID(1), Kind: KindExec, Tape: execTape("/bin/true")})
	select {
	case err := <-acked:
		must(t, err)
	case <-limited(t).Done():
		t.Fatal("no exit")
	}
}

func TestDialLimits(t *testing.T) {
	p, c, _ := newPod(t)
	stop(t, p)
	ctx, cancel := context.WithTimeout(limited(t), 20*time.Millisecond)
	defer cancel()
	if _, err := Dial(ctx, p.path, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a pause that is stopped: %v, want context.DeadlineExceeded", err)
	}
	var waiting []*os.File
	for range 2 * backlog {
		sock, err := connect(p.path)
		if err != nil {
			if !errors.Is(err, unix.EAGAIN) {
				t.Errorf("a full backlog: %v, want EAGAIN", err)
			}
			break
		}
		waiting = append(waiting, sock)
	}
	if len(waiting) > backlog+1 {
		t.Errorf("%d connections wait", len(waiting))
	}
	for _, sock := range waiting {
		sock.Close()
	}
	must(t, Signal(p.PIDFD, unix.SIGCONT))
	<-c.Done() // replaced by those
	again := dial(t, p, nil)
	_, err := again.List(limited(t))
	must(t, err)
	if _, err := Dial(limited(t), p.path+"-none", nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no socket: %v, want os.ErrNotExist", err)
	}
}

func TestOutputAndInput(t *testing.T) {
	_, c, exits := newPod(t)
	inR, inW := pipe(t)
	outR, outW := pipe(t)
	errR, errW := pipe(t)
	var a assembler
	a.step(unix.SYS_DUP3, a.fd(0), imm(0), imm(0))
	a.step(unix.SYS_DUP3, a.fd(1), imm(1), imm(0))
	a.step(unix.SYS_DUP3, a.fd(2), imm(2), imm(0))
	a.exec("/bin/sh", "-c", "read x; echo got $x; echo bad >&2; read y; echo end")
	log, err := os.Create(t.TempDir() + "/log")
	must(t, err)
	defer log.Close()
	p := clone(t, c, Clone{ID: testID(1), Kind: KindExec, Tape: a.bytes(3), FDs: []*os.File{inR, outW, errW},
		Stdin: inW, Stdout: outR, Stderr: errR, Log: log})
	for _, f := range []*os.File{inR, inW, outR, outW, errR, errW} {
		f.Close()
	}
	tapOut, tapOutW := pipe(t)
	tapErr, tapErrW := pipe(t)
	input, err := c.Tap(limited(t), p.ID, tapOutW, tapErrW, true)
	must(t, err)
	if input == nil {
		t.Fatal("no input")
	}
	defer input.Close()
	tapOutW.Close()
	tapErrW.Close()
	must(t, c.Log(limited(t), p.ID, nil))
	_, err = io.WriteString(input, "this\n")
	must(t, err)
	line := make([]byte, len("got this\n"))
	_, err = io.ReadFull(tapOut, line)
	must(t, err)
	if string(line) != "got this\n" {
		t.Errorf("stdout %q", line)
	}
	input.Close()
	must(t, c.CloseStdin(limited(t), p.ID))
	rest, err := io.ReadAll(tapOut)
	must(t, err)
	bad, err := io.ReadAll(tapErr)
	must(t, err)
	if string(rest) != "end\n" || string(bad) != "bad\n" {
		t.Errorf("stdout's rest %q, stderr %q", rest, bad)
	}
	exits.exit(t, p.ID)
	without, err := c.Tap(limited(t), p.ID, nil, nil, true)
	if without != nil {
		t.Errorf("a dead process has an input: %v", err)
		without.Close()
	}
}

func TestSharedInit(t *testing.T) {
	_, c, exits := newPod(t)
	gateR, gateW := pipe(t)
	p := clone(t, c, Clone{ID: testID(1), Kind: KindInit, Flags: unix.CLONE_NEWPID, Tape: new(assembler).bytes(0), Gate: gateR, Name: "shared"})
	eventually(t, "it serves", func() error {
		if s, err := p.Status(); err != nil || !s.Done {
			return fmt.Errorf("%+v, %v", s, err)
		}
		return nil
	})
	gateR.Close()
	gateW.Close()
	if s := exits.exit(t, p.ID); s.Status.ExitStatus() != 0 || s.Err() != nil {
		t.Errorf("exit %+v", s)
	}
}
