package pause

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// testCgroup makes a cgroup in the v2 tree that goes with the test.
func testCgroup(t *testing.T) string {
	t.Helper()
	for _, top := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		if _, err := os.Stat(filepath.Join(top, "cgroup.procs")); err != nil {
			continue
		}
		dir := filepath.Join(top, fmt.Sprintf("podlet-pause-test-%d", os.Getpid()))
		must(t, os.Mkdir(dir, 0o755))
		t.Cleanup(func() { eventually(t, "the cgroup goes", func() error { return os.Remove(dir) }) })
		return dir
	}
	t.Skip("no cgroup2 tree is mounted at /sys/fs/cgroup or /sys/fs/cgroup/unified")
	return ""
}

func TestStartInCgroup(t *testing.T) {
	leakChecked(t)
	path := testCgroup(t)
	dir, err := os.Open(path)
	must(t, err)
	defer dir.Close()
	n, _ := startNursery(t)
	p := startPause(t, n)
	e := newEvents()
	c := dial(t, p, e.add)
	app := clone(t, c, Clone{ID: testID(1), Kind: KindRun, Tape: sleeper(), Cgroup: dir})
	pid, err := PID(app.PIDFD)
	must(t, err)
	procs, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
	must(t, err)
	if got := strings.TrimSpace(string(procs)); got != fmt.Sprint(pid) {
		t.Errorf("in the cgroup: %q, want %d", got, pid)
	}
	must(t, os.WriteFile(filepath.Join(path, "cgroup.kill"), []byte("1"), 0))
	if s := e.exit(t, app.ID); s.Status.Signal() != unix.SIGKILL {
		t.Errorf("exit %+v", s)
	}
}

// TestWriterInCgroup: the last fds of a pause's CLONE are its log writer's, whatever else comes with it.
func TestWriterInCgroup(t *testing.T) {
	leakChecked(t)
	path := testCgroup(t)
	procs, err := os.OpenFile(filepath.Join(path, "cgroup.procs"), os.O_RDWR, 0)
	must(t, err)
	defer procs.Close()
	n, _ := startNursery(t)
	p := startPauseWith(t, n, []*os.File{procs})
	e := newEvents()
	c := dial(t, p, e.add)
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	must(t, err)
	defer log.Close()
	r, w := pipe(t)
	app := clone(t, c, Clone{ID: testID(1), Kind: KindRun, Tape: writeTape(1, 0, "a line\n"), FDs: []*os.File{w}, Stdout: r, Log: log})
	w.Close()
	e.exit(t, app.ID)
	// EXITED waits for a busy writer for 50 ms only.
	eventually(t, "the writer's log and cgroup", func() error {
		text, err := os.ReadFile(log.Name())
		must(t, err)
		list, err := os.ReadFile(procs.Name())
		must(t, err)
		if !strings.HasSuffix(string(text), " stdout F a line\n") || strings.Count(string(list), "\n") != 1 {
			return fmt.Errorf("the log has %q, the cgroup %q", text, list)
		}
		return nil
	})
}

// TestTerminal: a terminal's master is output and input at once.
func TestTerminal(t *testing.T) {
	_, c, exits := newPod(t)
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	defer master.Close()
	fd, err := fdOf(master)
	must(t, err)
	must(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	must(t, err)
	// os.OpenFile would make it non-blocking, for the shell too.
	slaveFD, err := unix.Open(fmt.Sprintf("/dev/pts/%d", number), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	must(t, err)
	slave := os.NewFile(uintptr(slaveFD), "slave")
	defer slave.Close()
	var a assembler
	a.step(unix.SYS_SETSID)
	for i := range uint64(3) {
		a.step(unix.SYS_DUP3, a.fd(0), imm(i), imm(0))
	}
	a.exec("/bin/sh", "-c", "read x; test -t 0 && echo got $x")
	app := clone(t, c, Clone{ID: testID(1), Kind: KindExec, Tape: a.bytes(1), FDs: []*os.File{slave}, Stdout: master, TTY: true})
	slave.Close()
	master.Close()
	tap, tapW := pipe(t)
	input, err := c.Tap(limited(t), app.ID, tapW, nil, true)
	must(t, err)
	tapW.Close()
	if input == nil {
		t.Fatal("a terminal without input")
	}
	defer input.Close()
	_, err = io.WriteString(input, "this\n")
	must(t, err)
	text, err := io.ReadAll(tap)
	must(t, err)
	if !strings.Contains(string(text), "got this\r\n") {
		t.Errorf("the tap got %q", text)
	}
	if s := exits.exit(t, app.ID); s.Status.ExitStatus() != 0 {
		t.Errorf("exit %+v", s)
	}
}
