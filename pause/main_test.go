package pause

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// binaryEnv names another pause to test, such as src's hosted build with its sanitizers (made-by-make/pause-hosted).
const binaryEnv = "PODLET_PAUSE_TEST_BINARY"

// roleEnv makes the test binary play one of its own helpers.
const roleEnv = "PODLET_PAUSE_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(playRole(role))
	}
	if os.Geteuid() != 0 {
		fmt.Println("pause: skipped: cloning namespaces needs root")
		return
	}
	before := children()
	code := m.Run()
	if after := children(); code == 0 && len(after) > len(before) {
		fmt.Println("FAIL: processes left behind:", after)
		code = 1
	}
	os.Exit(code)
}

func children() []string {
	var all []string
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, t := range tasks {
		list, _ := os.ReadFile(t)
		all = append(all, strings.Fields(string(list))...)
	}
	return all
}

// leakChecked fails t if after all its other cleanups a file or a goroutine of this package is there that wasn't before.
func leakChecked(t testing.TB) {
	t.Helper()
	files, routines := openFiles(), goroutines()
	t.Cleanup(func() {
		eventually(t, "files and goroutines as before", func() error {
			// One that was there and isn't any more was some other test's garbage.
			for _, f := range openFiles() {
				if !slices.Contains(files, f) {
					return fmt.Errorf("file %s is still open", f)
				}
			}
			if now := goroutines(); len(now) > len(routines) {
				return fmt.Errorf("goroutines:\n%s", strings.Join(now, "\n\n"))
			}
			return nil
		})
	})
}

// openFiles lists the files of this process but for the runtime's own.
func openFiles() []string {
	var files []string
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || strings.HasPrefix(target, "anon_inode:[event") || strings.HasPrefix(target, "/sys/fs/cgroup") {
			continue
		}
		files = append(files, e.Name()+" "+target)
	}
	return files
}

// goroutines gives the stacks of those that this package started.
func goroutines() []string {
	buf := make([]byte, 1<<20)
	var ours []string
	for _, g := range bytes.Split(buf[:runtime.Stack(buf, true)], []byte("\n\n")) {
		if bytes.Contains(g, []byte("created by podlet/pause.(*Conn)")) || bytes.Contains(g, []byte("created by podlet/pause.newConn")) {
			ours = append(ours, string(g))
		}
	}
	return ours
}

// eventually polls check, for what no event tells, and fails t after a minute: a busy machine, or a disk that stalls, is no failure.
func eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// limited is a context that ends before the test run's own limit does, so that a hang names its place.
func limited(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// events collects what a connection tells.
type events chan State

func newEvents() events { return make(events, MaxPods) }

func (e events) add(s State) { e <- s }

// exit waits for the next exit, which must be that of id.
func (e events) exit(t testing.TB, id ID) State {
	t.Helper()
	select {
	case s := <-e:
		if s.ID != id {
			t.Fatalf("an exit of %s where that of %s was due", s.ID, id)
		}
		if s.Running || s.Exited.IsZero() || s.Started.IsZero() || s.PIDFD != nil {
			t.Fatalf("an exit that isn't one: %+v", s)
		}
		return s
	case <-limited(t).Done():
		t.Fatalf("no exit of %s", id)
		panic("unreachable")
	}
}

func testOptions(t testing.TB, onExit func(State)) Options {
	t.Helper()
	o := Options{OnExit: onExit, Stderr: os.Stderr}
	if path := os.Getenv(binaryEnv); path != "" {
		f, err := os.Open(path)
		must(t, err)
		t.Cleanup(func() { f.Close() })
		o.Binary = f
	}
	return o
}

// startNursery starts one that ends with the test.
func startNursery(t testing.TB) (*Nursery, events) {
	t.Helper()
	e := newEvents()
	return startNurseryWith(t, testOptions(t, e.add)), e
}

func startNurseryWith(t testing.TB, o Options) *Nursery {
	t.Helper()
	n, err := Start(limited(t), o)
	must(t, err)
	t.Cleanup(func() { must(t, n.Close()) })
	return n
}

// testPause is a pod's pause that the test can dial.
type testPause struct {
	*Process
	path string
}

const podNamespaces = unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNS

var podCount uint16

// startPause clones a pause with a guard; it ends with the test, and before its nursery, which reaps it.
func startPause(t testing.TB, n *Nursery) *testPause {
	t.Helper()
	return startPauseWith(t, n, nil)
}

func startPauseWith(t testing.TB, n *Nursery, writerCgroups []*os.File) *testPause {
	t.Helper()
	p := &testPause{path: filepath.Join(t.TempDir(), "pause.sock")}
	sock, err := Listen(p.path)
	must(t, err)
	defer sock.Close()
	tape := pauseTape()
	id := testID(0xaa)
	podCount++
	id[1], id[2] = byte(podCount>>8), byte(podCount)
	p.Process, err = n.Clone(limited(t), Clone{ID: id, Kind: KindPause, Flags: podNamespaces, Tape: tape, FDs: []*os.File{sock},
		Listen: sock, Name: "test-pod", WriterCgroups: writerCgroups})
	must(t, err)
	t.Cleanup(func() {
		_ = Signal(p.PIDFD, unix.SIGKILL)
		must(t, Exited(context.Background(), p.PIDFD))
		p.PIDFD.Close()
	})
	return p
}

// pauseTape makes the pause the one that listens, and its mounts its own.
func pauseTape() []byte {
	var a assembler
	a.step(unix.SYS_LISTEN, a.fd(0), imm(backlog))
	a.step(unix.SYS_MOUNT, a.str("none"), a.str("/"), imm(0), imm(unix.MS_REC|unix.MS_PRIVATE), imm(0))
	return a.bytes(1)
}

func dial(t testing.TB, p *testPause, onExit func(State)) *Conn {
	t.Helper()
	c, err := Dial(limited(t), p.path, onExit)
	must(t, err)
	t.Cleanup(func() { must(t, c.Close()) })
	return c
}

// newPod is a nursery with one pause, and a connection to that.
func newPod(t testing.TB) (*testPause, *Conn, events) {
	t.Helper()
	leakChecked(t)
	n, _ := startNursery(t)
	p := startPause(t, n)
	e := newEvents()
	return p, dial(t, p, e.add), e
}

func testID(b byte) ID { return ID{0: b, 31: b} }

// clone starts a process whose pidfd is closed with the test.
func clone(t testing.TB, c *Conn, q Clone) *Process {
	t.Helper()
	p, err := c.Clone(limited(t), q)
	must(t, err)
	t.Cleanup(func() { p.PIDFD.Close() })
	return p
}

// pipe makes a pipe in blocking mode.
func pipe(t testing.TB) (r, w *os.File) {
	t.Helper()
	var fds [2]int
	must(t, unix.Pipe2(fds[:], unix.O_CLOEXEC))
	r, w = os.NewFile(uintptr(fds[0]), "pipe's read end"), os.NewFile(uintptr(fds[1]), "pipe's write end")
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// sleeper is a tape that sleeps until it is killed.
func sleeper() []byte {
	var a assembler
	a.step(unix.SYS_PPOLL, imm(0), imm(0), imm(0), imm(0))
	return a.bytes(0)
}

// execTape runs a command with no environment.
func execTape(argv ...string) []byte {
	var a assembler
	a.exec(argv...)
	return a.bytes(0)
}

func wantErrno(t testing.TB, err error, errno unix.Errno, step uint32) {
	t.Helper()
	var failed *FailedError
	if !errors.As(err, &failed) {
		t.Fatalf("error is %v, want a FailedError", err)
	}
	if failed.Errno != errno || failed.Step != step || !errors.Is(err, errno) {
		t.Fatalf("error %v (step %d), want %v at step %d", err, failed.Step, errno, step)
	}
}

// reexec runs a role of this test binary.
func reexec(t testing.TB, role string, flags uintptr) {
	t.Helper()
	cmd := exec.CommandContext(limited(t), "/proc/self/exe")
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	cmd.SysProcAttr = cloneAttr(flags)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("role %s: %v\n%s", role, err, out)
	}
}
