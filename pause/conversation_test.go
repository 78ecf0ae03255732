package pause

import (
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// conversation is all that podlet needs of a pause of any version: to be run against each that was ever released.
func conversation(t *testing.T, o Options, version uint32) {
	leakChecked(t)
	exits := newEvents()
	o.OnExit = exits.add
	var way assembler
	way.step(unix.SYS_CHDIR, way.str("/proc"))
	o.Tape = way.bytes(0)
	n := startNurseryWith(t, o)
	p := startPause(t, n)
	heard := newEvents()
	c := dial(t, p, heard.add)
	if n.Version() != version || c.Version() != version || c.TapeVersion() == 0 {
		t.Errorf("versions: nursery %d, pause %d, tape %d; want %d", n.Version(), c.Version(), c.TapeVersion(), version)
	}

	// A process with output and input, its log, a client; it ends with what it was told.
	inR, inW := pipe(t)
	outR, outW := pipe(t)
	log, err := os.Create(t.TempDir() + "/log")
	must(t, err)
	defer log.Close()
	var a assembler
	a.step(unix.SYS_DUP3, a.fd(0), imm(0), imm(0))
	a.step(unix.SYS_DUP3, a.fd(1), imm(1), imm(0))
	a.fork()
	a.exec("/bin/sh", "-c", "read code; echo $code; exit $code")
	app := clone(t, c, Clone{ID: testID(1), Kind: KindExec, Tape: a.bytes(2), FDs: []*os.File{inR, outW}, Stdin: inW, Stdout: outR, Log: log})
	for _, f := range []*os.File{inR, inW, outR, outW} {
		f.Close()
	}
	tap, tapW := pipe(t)
	input, err := c.Tap(limited(t), app.ID, tapW, nil, true)
	must(t, err)
	defer input.Close()
	tapW.Close()
	must(t, c.Log(limited(t), app.ID, log))
	if _, err := io.WriteString(input, "42\n"); err != nil {
		t.Error(err)
	}
	text, err := io.ReadAll(tap)
	must(t, err)
	if string(text) != "42\n" {
		t.Errorf("the tap got %q", text)
	}
	if s := heard.exit(t, app.ID); s.Status.ExitStatus() != 42 || s.Err() != nil || s.Kind != KindExec {
		t.Errorf("exit %+v", s)
	}

	// Failures, and more fds than a packet takes.
	var bad assembler
	bad.step(unix.SYS_GETPID)
	bad.step(unix.SYS_CHDIR, bad.str("/no/such/directory"))
	failed := clone(t, c, Clone{ID: testID(2), Kind: KindRun, Tape: bad.bytes(0)})
	wantErrno(t, heard.exit(t, failed.ID).Err(), unix.ENOENT, 1)
	null, err := os.Open("/dev/null")
	must(t, err)
	defer null.Close()
	files := make([]*os.File, 600)
	for i := range files {
		files[i] = null
	}
	many := clone(t, c, Clone{ID: testID(3), Kind: KindRun, Tape: new(assembler).bytes(600), FDs: files})
	if s := heard.exit(t, many.ID); s.Err() != nil {
		t.Errorf("600 fds: %+v", s)
	}
	if s, err := many.Status(); err != nil || !s.Done {
		t.Errorf("600 fds: status %+v, %v", s, err)
	}

	// The records outlive the connection.
	stays := clone(t, c, Clone{ID: testID(4), Kind: KindRun, Flags: unix.CLONE_NEWPID, Tape: sleeper()})
	must(t, c.Close())
	again := dial(t, p, nil)
	list, err := again.List(limited(t))
	must(t, err)
	running := 0
	for i := range list {
		if list[i].Running {
			running++
		} else {
			must(t, again.Ack(limited(t), list[i].ID))
		}
		list[i].Close()
	}
	if len(list) != 4 || running != 1 {
		t.Errorf("%d processes of 4, %d running of 1: %+v", len(list), running, list)
	}
	must(t, again.CloseStdin(limited(t), stays.ID))
	must(t, Signal(p.PIDFD, unix.SIGKILL))
	must(t, Exited(limited(t), stays.PIDFD))
	if s := exits.exit(t, p.ID); s.Status.Signal() != unix.SIGKILL {
		t.Errorf("pause's exit %+v", s)
	}
	must(t, n.Ack(limited(t), p.ID))
}

func TestConversation(t *testing.T) { conversation(t, testOptions(t, nil), ProtocolVersion) }
