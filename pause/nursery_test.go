package pause

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestNurseryLivesApart(t *testing.T) {
	leakChecked(t)
	n, _ := startNursery(t)
	pid, err := PID(n.PIDFD)
	must(t, err)
	proc := func(name string) string {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		must(t, err)
		return strings.TrimRight(string(b), "\x00\n")
	}
	if got := proc("environ"); got != "" {
		t.Errorf("environment %q", got)
	}
	if got := proc("cmdline"); got != "podlet-nursery" {
		t.Errorf("command line %q", got)
	}
	if got := proc("comm"); got != "podlet-nursery" {
		t.Errorf("name %q", got)
	}
	if cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); err != nil || cwd != "/" {
		t.Errorf("working directory %q, %v", cwd, err)
	}
	if sid, err := unix.Getsid(pid); err != nil || sid != pid {
		t.Errorf("session %d of process %d, %v", sid, pid, err)
	}
	if pgid, err := unix.Getpgid(pid); err != nil || pgid != pid {
		t.Errorf("process group %d of process %d, %v", pgid, pid, err)
	}
	ours, err := os.Readlink("/proc/self/ns/mnt")
	must(t, err)
	if theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid)); err != nil || theirs == ours {
		t.Errorf("mount namespace %s like ours, %v", theirs, err)
	}
	for line := range strings.Lines(proc("mountinfo")) {
		if strings.Contains(line, " shared:") || strings.Contains(line, " master:") {
			t.Errorf("a mount that is not private: %s", line)
		}
	}
	if n.Version() != ProtocolVersion && os.Getenv(binaryEnv) == "" {
		t.Errorf("version %d, want %d", n.Version(), ProtocolVersion)
	}
	if n.TapeVersion() == 0 || n.Started().IsZero() {
		t.Errorf("tape version %d, started %v", n.TapeVersion(), n.Started())
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	must(t, err)
	for _, fd := range fds {
		target, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name()))
		if strings.Contains(target, binaryName) {
			t.Errorf("fd %s is the binary", fd.Name())
		}
	}
}

func TestNurseryEndsWithItsSocket(t *testing.T) {
	leakChecked(t)
	n, _ := startNursery(t)
	must(t, n.Conn.Close())
	must(t, Exited(limited(t), n.PIDFD))
}

func TestNurseryDeathIsSeen(t *testing.T) {
	leakChecked(t)
	n, _ := startNursery(t)
	must(t, Signal(n.PIDFD, unix.SIGKILL))
	<-n.Done()
	if err := n.Err(); !isLost(err) {
		t.Errorf("error %v, want ErrLost", err)
	}
	if _, err := n.List(limited(t)); !isLost(err) {
		t.Errorf("List: %v, want ErrLost", err)
	}
}

func TestNurseryPlaysItsTape(t *testing.T) {
	leakChecked(t)
	var a assembler
	a.step(unix.SYS_FCHDIR, a.fd(0))
	dir, err := os.Open("/proc")
	must(t, err)
	defer dir.Close()
	o := testOptions(t, nil)
	o.Tape, o.FDs = a.bytes(1), []*os.File{dir}
	n := startNurseryWith(t, o)
	pid, err := PID(n.PIDFD)
	must(t, err)
	if cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); err != nil || cwd != "/proc" {
		t.Errorf("working directory %q, %v", cwd, err)
	}
}

func TestNurseryWithoutItsRootIsNone(t *testing.T) {
	leakChecked(t)
	var a assembler
	a.step(unix.SYS_GETPID)
	a.step(unix.SYS_CHDIR, a.str("/no/such/directory"))
	o := testOptions(t, nil)
	o.Tape = a.bytes(0)
	_, err := Start(limited(t), o)
	wantErrno(t, err, unix.ENOENT, 1)
}

func cloneAttr(flags uintptr) *syscall.SysProcAttr { return &syscall.SysProcAttr{Cloneflags: flags} }
