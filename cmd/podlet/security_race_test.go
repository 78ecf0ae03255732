package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

var raceExecs = flag.Int("race-execs", 150, "execs (and a tenth of it, container starts) for each kind of pod of TestInvariant3; the soak is 10000")

// TestInvariant3: until execve the launching process is a host process in disguise. A container looks at every new process that it can see, through
// every file of /proc that could show something of the host, while commands are executed in it and, where its PID namespace is
// shared, containers started beside it. (CVE-2019-5736, CVE-2016-9962)
func TestInvariant3(t *testing.T) {
	n := hostileNode(t)
	for _, c := range []struct {
		name   string
		change func(*cri.NamespaceOption)
		starts bool // containers started beside it are in its sight
	}{
		{"own", func(*cri.NamespaceOption) {}, false},
		{"shared", func(o *cri.NamespaceOption) { o.Pid = cri.NamespaceMode_POD }, true},
		{"node", func(o *cri.NamespaceOption) { o.Pid = cri.NamespaceMode_NODE }, true},
		{"userns", userNS, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			n.t = t
			starts := 0
			if c.starts {
				starts = *raceExecs / 10
			}
			seen := 0
			// How many the container gets to see depends on what else the machine does.
			for tries := 0; tries < 10 && seen < *raceExecs/50; tries++ {
				sight := n.race(fmt.Sprint(c.name, tries), c.change, *raceExecs, starts)
				for _, f := range sight.Findings {
					t.Error(f)
				}
				t.Logf("%d launching processes seen in %d execs and %d starts, %d looks refused", sight.Launching, *raceExecs, starts, sight.Refused)
				seen += sight.Launching
			}
			if seen < *raceExecs/50 {
				t.Errorf("the race was not run: only %d launching processes were seen", seen)
			}
		})
	}
	n.t = t
}

// TestInvariant3WithoutDefence shows that the race finds something once launching processes stay dumpable.
func TestInvariant3WithoutDefence(t *testing.T) {
	t.Setenv(withoutDefence, "dumpable")
	n := hostileNode(t)
	for try := range 20 {
		sight := n.race(fmt.Sprint("own", try), func(*cri.NamespaceOption) {}, 50, 0)
		if len(sight.Findings) > 0 {
			t.Logf("after %d execs, %d launching processes seen: %s", 50*(try+1), sight.Launching, strings.Join(sight.Findings, "\n"))
			return
		}
	}
	t.Error("launching processes were dumpable, and nothing was found in them: the race would not notice")
}

// TestInvariant3Ptrace: CAP_SYS_PTRACE overrules that a process isn't dumpable, if the container has no user namespace. It then sees a launching process's fds, and none of them leads to
// the node's tree.
func TestInvariant3Ptrace(t *testing.T) {
	n := hostileNode(t)
	for _, c := range []struct {
		name   string
		change func(*cri.NamespaceOption)
		starts int
	}{
		{"own", func(*cri.NamespaceOption) {}, 0},
		{"shared", func(o *cri.NamespaceOption) { o.Pid = cri.NamespaceMode_POD }, 20},
		{"userns", userNS, 0},
	} {
		seen := n.race(c.name, c.change, 60, c.starts, func(config *cri.ContainerConfig) {
			config.Linux = &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{Capabilities: &cri.Capability{AddCapabilities: []string{"SYS_PTRACE"}}}}
		})
		if len(seen.Node) > 0 {
			t.Errorf("%s: the node's tree was reached from %q", c.name, seen.Node)
		}
		if c.name == "userns" && len(seen.Findings) > 0 {
			t.Errorf("%s: %q", c.name, seen.Findings)
		}
		t.Logf("%s: %d findings", c.name, len(seen.Findings))
	}
}

// race runs an attacker against execs and starts.
func (n *node) race(name string, change func(*cri.NamespaceOption), execs, starts int, with ...func(*cri.ContainerConfig)) (s glimpsed) {
	n.t.Helper()
	secret := n.t.TempDir() + "/secret"
	if err := os.WriteFile(secret, nil, 0o600); err != nil {
		n.t.Fatal(err)
	}
	sandbox := n.sandbox(name, sharing(change))
	pod := n.run(sandbox)
	env := map[string]string{"SECRET": secret[1:]}
	if sandbox.Linux.SecurityContext.NamespaceOptions.Pid == cri.NamespaceMode_NODE {
		env["PAUSE"] = fmt.Sprint(n.seenPod(pod).PID)
	}
	a := n.attack(pod, sandbox, "attacker", "look", env, with...)
	n.waitFor(a.dir + "/ready")
	for range execs {
		if out, code := n.exec(a.id, "true"); code != 0 {
			n.t.Fatalf("exec: %d %s", code, out)
		}
	}
	for i := range starts {
		id := n.startIn(pod, sandbox, n.like(sandbox, container(fmt.Sprint("c", i), "true")))
		n.exited(id)
		n.remove(id)
	}
	if err := a.stop(); err != nil {
		n.t.Fatal(err)
	}
	n.report(a, &s)
	n.removePod(pod)
	return s
}

func (n *node) waitFor(file string) {
	n.t.Helper()
	for deadline := time.Now().Add(hangTime); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if _, err := os.Stat(file); err == nil {
			return
		}
	}
	n.t.Fatalf("%s does not come", file)
}

// glimpsed is what an attacker saw.
type glimpsed struct {
	// Launching counts the processes seen before their execve, Refused the looks into them that the kernel refused.
	Launching, Refused int
	Findings           []string
	// Node are what led to the node's own tree.
	Node []string
}

// looker looks at processes.
type looker struct {
	glimpsed
	root unix.Stat_t
	// header is the beginning of the program that is executed; another one in a process's memory is podlet's.
	header []byte
	// secret is a file of the node's.
	secret string
	// pause is the pod's where the PID namespace is the node's: only it and its children are looked at, for other podlets have pods too.
	pause int
}

func attackLook() any {
	l := &looker{secret: os.Getenv("SECRET")}
	l.pause, _ = strconv.Atoi(os.Getenv("PAUSE"))
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		panic(err)
	}
	l.header = program[:64]
	if err := unix.Stat("/", &l.root); err != nil {
		panic(err)
	}
	last, err := os.Open("/proc/sys/kernel/ns_last_pid")
	if err != nil {
		panic(err)
	}
	next := l.scan()
	if err := os.WriteFile(attackerDir+"/ready", nil, 0o600); err != nil {
		panic(err)
	}
	text := make([]byte, 16)
	for round := 0; round%500 != 0 || !stopped(); round++ {
		k, err := last.ReadAt(text, 0)
		if k == 0 {
			panic(err)
		}
		until, _ := strconv.Atoi(strings.TrimSpace(string(text[:k])))
		if until < next-1 {
			next = 1 // pids have begun anew
		}
		for ; next <= until; next++ {
			l.look(next)
		}
		// The next one may be there before the counter is read again.
		if l.look(next) {
			next++
		}
	}
	return l.glimpsed
}

// scan looks at every process there is, and gives the pid that may come next.
func (l *looker) scan() (next int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			l.look(pid)
			next = max(next, pid+1)
		}
	}
	return next
}

// look looks at a process until it is gone or has become what it was to be; false: there is none.
func (l *looker) look(pid int) bool {
	dir, err := unix.Open("/proc/"+strconv.Itoa(pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(dir)
	// Not the threads of this process, which have a directory too.
	if unix.Access("/proc/self/task/"+strconv.Itoa(pid), unix.F_OK) == nil {
		return true
	}
	if l.pause != 0 && pid != l.pause && l.parent(dir) != l.pause {
		return true
	}
	refused := 0
	// A process that stays what it is (pause, the PID 1 of a shared namespace) is looked at a while.
	for range 500 {
		exe, err := readlinkAt(dir, "exe")
		if err == unix.EACCES || err == unix.EPERM {
			refused++
		}
		if err == unix.ENOENT || err == unix.ESRCH {
			break
		}
		l.judge(dir, exe)
		if err == nil && !podlets(exe) {
			break
		}
	}
	if refused > 0 {
		l.Launching++
		l.Refused += refused
	}
	return true
}

// parent is the parent's pid (proc_pid_stat(5)).
func (l *looker) parent(dir int) int {
	stat := l.read(dir, "stat")
	f := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(f) < 2 {
		return 0
	}
	pid, _ := strconv.Atoi(f[1])
	return pid
}

func podlets(exe string) bool { return strings.Contains(exe, "podlet-pause") }

// judge tries everything once. What a process shows after its execve is its own and no finding.
func (l *looker) judge(dir int, exe string) {
	if podlets(exe) {
		l.found("exe of a launching process is %s", exe)
	}
	l.fds(dir)
	if text := l.read(dir, "maps"); podlets(text) {
		l.found("maps of a launching process: %.300s", text)
	}
	if text := l.read(dir, "environ"); text != "" && !strings.Contains(text, "PATH=") {
		l.found("environ of a launching process: %.300q", text)
	}
	l.memory(dir)
	for _, name := range []string{"root", "cwd"} {
		l.tree(dir, name)
	}
}

func (l *looker) fds(dir int) {
	fd, err := unix.Openat(dir, "fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	buf := make([]byte, 4096)
	n, err := unix.Getdents(fd, buf)
	if err != nil || n <= 0 {
		return
	}
	_, _, names := unix.ParseDirent(buf[:n], -1, nil)
	for _, name := range names {
		// The numbers are to be seen by whoever has the same user id, the files behind them are not.
		if number, _ := strconv.Atoi(name); number > 2 {
			if link, err := readlinkAt(fd, name); err == nil {
				l.found("fd %s of a launching process is %q", name, link)
			}
			if file, err := unix.Openat(fd, name, unix.O_PATH|unix.O_CLOEXEC, 0); err == nil {
				l.found("fd %s of a launching process could be opened", name)
				l.climb(file, "fd "+name)
				unix.Close(file)
			}
		}
	}
}

func (l *looker) memory(dir int) {
	fd, err := unix.Openat(dir, "mem", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	got := make([]byte, len(l.header))
	// Programs without position independence, pause's and busybox's, begin here.
	if n, err := unix.Pread(fd, got, 0x400000); err == nil && n == len(got) && !bytes.Equal(got, l.header) {
		l.found("memory of a launching process: %x", got)
	}
}

// tree reports a root or working directory outside the container, if the process is still podlet's after the look.
func (l *looker) tree(dir int, name string) {
	if top, err := unix.Openat(dir, name, unix.O_PATH|unix.O_CLOEXEC, 0); err == nil {
		l.climb(top, name)
		unix.Close(top)
	}
	var st unix.Stat_t
	if unix.Fstatat(dir, name, &st, 0) != nil || st.Dev == l.root.Dev && st.Ino == l.root.Ino {
		return
	}
	if exe, err := readlinkAt(dir, "exe"); err == nil && podlets(exe) || err == unix.EACCES {
		l.found("%s of a launching process is device %d inode %d", name, st.Dev, st.Ino)
	}
}

// climb goes up from a directory that was found, to the node's root if that is above it.
func (l *looker) climb(dir int, from string) {
	fd, err := unix.Openat(dir, strings.Repeat("../", 30)+l.secret, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
		l.Node = append(l.Node[:min(len(l.Node), 9)], from)
	}
}

func (l *looker) found(format string, args ...any) {
	if len(l.Findings) < 20 {
		l.Findings = append(l.Findings, fmt.Sprintf(format, args...))
	}
}

func (l *looker) read(dir int, name string) string {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	buf := make([]byte, 4096)
	n, err := unix.Read(fd, buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

func readlinkAt(dir int, name string) (string, error) {
	buf := make([]byte, 512)
	n, err := unix.Readlinkat(dir, name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}
