package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// slowScript counts on stdout, a write a line, until a file says stop.
const slowScript = "i=0; while ! [ -e /dev/shm/stop ]; do echo $i; i=$((i+1)); done; echo end $i"

// quickScript is slowScript with many lines a write.
const quickScript = "i=0; while ! [ -e /dev/shm/stop ]; do seq $i $((i+9999)); i=$((i+10000)); done; echo end $i"

func size(path string) int64 {
	st, err := os.Stat(path)
	if err != nil {
		return -1
	}
	return st.Size()
}

// grows waits until a file gets longer.
func (n *node) grows(path string) {
	n.t.Helper()
	was := size(path)
	n.soon(path+" grows", func() bool { return size(path) > was })
}

// wrote is how many bytes a process has written so far, and those of its children that have ended, to whatever (proc_pid_io(5)).
func wrote(t *testing.T, pid int) (n int64) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "wchar: ")
	if _, err := fmt.Sscan(rest, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) tryReopen(container string) error {
	_, err := n.ReopenContainerLog(n.ctx(), &cri.ReopenContainerLogRequest{ContainerId: container})
	return err
}

// TestLogReopenFails: a reopening that fails makes nothing, and the log goes on where it was. The next one that can work does.
func TestLogReopenFails(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	id := p.start(container("app", "sh", "-c", slowScript))
	path := n.status(id).LogPath
	dir, away := filepath.Dir(path), filepath.Dir(path)+".away"
	n.grows(path)
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	n.fails(n.tryReopen(id), codes.Unknown, "app", path)
	if _, err := os.Lstat(dir); err == nil {
		t.Errorf("%s is there", dir)
	}
	n.grows(away + "/app.log")
	// Something that is no log stands in the way.
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".0"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/null", path); err != nil {
		t.Fatal(err)
	}
	n.fails(n.tryReopen(id), codes.InvalidArgument, "app", path)
	n.grows(path + ".0")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	n.reopen(id)
	n.grows(path)
	n.stopCounting(id)
	n.ends(path, 1)
	// What has ended has no use for another file.
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	n.fails(n.tryReopen(id), codes.FailedPrecondition, "app")
	if _, err := os.Lstat(path); err == nil {
		t.Errorf("%s is there", path)
	}
	n.fails(n.tryReopen("absent"), codes.NotFound, "absent")
	var l numberedLog
	for _, name := range []string{path + ".0", path + ".1"} {
		if err := l.take(name); err != nil {
			t.Error(err)
		}
	}
	if !l.ended[0] {
		t.Errorf("no end after %d lines", l.next[0])
	}
}

// TestLogWriterHangs: a rotation that the writer can't carry out now is taken note of. A second one is refused, and the file that was made for it is gone again.
func TestLogWriterHangs(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	id := p.start(container("app", "sh", "-c", slowScript))
	path := n.status(id).LogPath
	writer := p.chargedWriter()
	if err := unix.Kill(writer, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// A pod's end doesn't wait for it, but the test's.
	defer unix.Kill(writer, unix.SIGCONT)
	n.soon("the writer stands still", func() bool { return stateOf(writer) == "T" })
	rotate := func(to string) error {
		if err := os.Rename(path, path+to); err != nil {
			t.Fatal(err)
		}
		return n.tryReopen(id)
	}
	if err := rotate(".0"); err != nil {
		t.Fatal(err)
	}
	if err := rotate(".1"); err == nil || !contains(err.Error(), "EBUSY") {
		t.Errorf("the second rotation: %v", err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Errorf("%s is there", path)
	}
	unix.Kill(writer, unix.SIGCONT)
	// What a kubelet does where a rotation has failed.
	if err := os.Rename(path+".1", path); err != nil {
		t.Fatal(err)
	}
	n.grows(path)
	if err := rotate(".1"); err != nil {
		t.Fatal(err)
	}
	n.grows(path)
	n.stopCounting(id)
	n.ends(path, 1)
	var l numberedLog
	for _, name := range []string{path + ".0", path + ".1", path} {
		if err := l.take(name); err != nil {
			t.Error(err)
		}
	}
	if !l.ended[0] {
		t.Errorf("no end after %d lines", l.next[0])
	}
}

// TestLogDirectoryRemoved: the container goes on, and once there is a directory again so does its log. The log is in memory: a machine whose disk is
// behind holds up who writes to it, which is the next tests' business.
func TestLogDirectoryRemoved(t *testing.T) {
	n := commonNode(t)
	dir := filepath.Join(smallDir(t, 1<<30), "pod")
	p := n.newPod(func(c *cri.PodSandboxConfig) { c.LogDirectory = dir })
	id := p.start(container("app", "sh", "-c", quickScript))
	path, pid := n.status(id).LogPath, n.seenContainer(id).PID
	n.grows(path)
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	// More than its pipe and the ring to the log writer hold.
	was := wrote(t, pid)
	defer p.whereItWaits()
	n.soon("a lot of output", func() bool { return wrote(t, pid) > was+3<<19 })
	if err := n.tryReopen(id); err == nil {
		t.Error("the log was reopened in a directory that is not there")
	}
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	n.reopen(id)
	n.grows(path)
	n.stopCounting(id)
	n.ends(path, 1)
	resumed(t, path)
}

// whereItWaits shows, for a test that has failed, where pause and what it has started are in the kernel.
func (p *testPod) whereItWaits() {
	if !p.n.t.Failed() {
		return
	}
	pids := []string{strconv.Itoa(p.n.seenPod(p.id).PID)}
	for i := 0; i < len(pids); i++ {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%s/task/%s/children", pids[i], pids[i]))
		pids = append(pids, strings.Fields(string(children))...)
		for _, file := range []string{"comm", "wchan", "syscall", "stack", "io"} {
			text, _ := os.ReadFile("/proc/" + pids[i] + "/" + file)
			p.n.t.Logf("%s of %s: %s", file, pids[i], text)
		}
	}
}

// resumed checks a log whose first lines are lost: what is there is whole to its end. It gives the first number.
func resumed(t *testing.T, path string) uint64 {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	_, number, err := splitFrame([]byte(first))
	if err != nil {
		t.Fatal(err)
	}
	begin, err := parseNumber(number)
	if err != nil {
		t.Fatalf("the log begins with %q", first)
	}
	l := numberedLog{next: [2]uint64{begin}}
	if err := l.take(path); err != nil || !l.ended[0] {
		t.Errorf("%d lines from %d on, end %v: %v", l.next[0]-begin, begin, l.ended[0], err)
	}
	return begin
}

// smallDir gives a directory with room for so many bytes: the root of a file system that is mounted nowhere.
func smallDir(t *testing.T, bytes int) string {
	t.Helper()
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "size", strconv.Itoa(bytes)); err != nil {
		t.Fatal(err)
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		t.Fatal(err)
	}
	root, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(root) })
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), root)
}

// lost is what the verbose status says that a container's log lacks.
func (n *node) lost(container string) (l struct{ LogLinesLost, LogBytesLost uint64 }) {
	n.t.Helper()
	r, err := n.ContainerStatus(n.ctx(), &cri.ContainerStatusRequest{ContainerId: container, Verbose: true})
	if err == nil {
		err = json.Unmarshal([]byte(r.Info["info"]), &l)
	}
	if err != nil {
		n.t.Fatal(err)
	}
	return l
}

// gap is the line that tells how much is lost where it stands.
var gap = regexp.MustCompile(`^podlet: the log could not be written \(errno 28\): lost here (\d+) lines, (\d+) bytes$`)

// TestLogFullDisk: a container is not held up by a full disk. Where there is space again its log says what it lacks, and so does its status.
func TestLogFullDisk(t *testing.T) {
	n := commonNode(t)
	dir := smallDir(t, 1<<20)
	if err := os.WriteFile(dir+"/filler", make([]byte, 512<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	p := n.newPod(func(c *cri.PodSandboxConfig) { c.LogDirectory = dir })
	id := p.start(container("app", "sh", "-c", `
		seq 0 99999; touch /dev/shm/written
		i=100000; while ! [ -e /dev/shm/stop ]; do echo $i; i=$((i+1)); sleep 0.01; done; echo end $i`))
	path := n.status(id).LogPath
	n.soon("the output on a full disk", func() bool {
		_, code := n.exec(id, "test", "-e", "/dev/shm/written")
		return code == 0
	})
	n.soon("lost lines", func() bool { return n.lost(id).LogLinesLost > 80_000 })
	if err := os.Remove(dir + "/filler"); err != nil {
		t.Fatal(err)
	}
	n.soon("a line about what was lost", func() bool {
		text, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(text), " stderr F podlet: the log could not be written (errno 28): lost here ")
	})
	n.stopCounting(id)
	n.gapped(id, "")
}

// gapped checks the log of a counter that has ended: with the numbers that it says are lost it is whole, and the status says the same. ending is numberedLog's.
func (n *node) gapped(container, ending string) {
	n.t.Helper()
	l := numberedLog{ending: ending}
	var lines, bytes uint64
	gaps := 0
	n.ends(n.status(container).LogPath, 1)
	text, err := os.ReadFile(n.status(container).LogPath)
	if err != nil {
		n.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		_, what, err := splitFrame([]byte(line))
		if err != nil {
			n.t.Fatal(err)
		}
		if m := gap.FindSubmatch(what); m != nil {
			lost, _ := parseNumber(m[1])
			size, _ := parseNumber(m[2])
			lines, bytes = lines+lost, bytes+size
			l.next[0] += lost
			gaps++
			continue
		}
		if err := l.line([]byte(line)); err != nil {
			n.t.Fatal(err)
		}
	}
	// The first try after a second may find a rest of a page free, and no more.
	if !l.ended[0] || gaps < 1 || gaps > 3 {
		n.t.Errorf("%d lines, end %v, %d gaps", l.next[0], l.ended[0], gaps)
	}
	if s := n.lost(container); s.LogLinesLost != lines || s.LogBytesLost != bytes {
		n.t.Errorf("the status says %+v, the log %d lines, %d bytes", s, lines, bytes)
	}
}

// TestLogOfTerminalRotates: no line of a terminal's output is lost either, though writers are killed.
func TestLogOfTerminalRotates(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	config := container("app", "sh", "-c", slowScript)
	config.Tty = true
	id := p.start(config)
	path := n.status(id).LogPath
	const rotations = 20
	for i := range rotations {
		n.grows(path)
		if pid := logWriter(n.seenPod(p.id).PID); pid > 0 && i%4 == 3 {
			unix.Kill(pid, unix.SIGKILL)
		}
		if err := os.Rename(path, fmt.Sprint(path, ".", i)); err != nil {
			t.Fatal(err)
		}
		n.reopen(id)
	}
	n.stopCounting(id)
	n.ends(path, 1)
	l := numberedLog{ending: "\r"}
	for i := range rotations {
		if err := l.take(fmt.Sprint(path, ".", i)); err != nil {
			t.Error(err)
		}
	}
	n.takeEnd(l, path)
}

// TestLogFollowsItsPath: podlet is killed before it can tell the kubelet that the log goes to the new file, and the kubelet puts the old one back. The new
// podlet sees to it that the file at the path is the one that is written.
func TestLogFollowsItsPath(t *testing.T) {
	n := newNode(t)
	p := n.newPod()
	id := p.start(container("app", "sh", "-c", slowScript))
	path := n.status(id).LogPath
	n.grows(path)
	if err := os.Rename(path, path+".0"); err != nil {
		t.Fatal(err)
	}
	n.reopen(id)
	n.grows(path)
	if err := os.Rename(path+".0", path); err != nil {
		t.Fatal(err)
	}
	before := size(path)
	n.kill()
	n.start()
	n.grows(path)
	n.stopCounting(id)
	n.ends(path, 1)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, part := range map[string][]byte{".old": text[:before], ".new": text[before:]} {
		if err := os.WriteFile(path+name, part, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var old numberedLog
	if err := old.take(path + ".old"); err != nil {
		t.Error(err)
	}
	if begin := resumed(t, path+".new"); begin < old.next[0] {
		t.Errorf("goes on with %d after %d lines", begin, old.next[0])
	}
}
