package mount

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"podlet/hack/privatetest"
)

const roleEnv = "PODLET_MOUNT_TEST_ROLE"

// The main goroutine keeps the process's first thread, so that a test can ask for that one: see onFirstThread.
func init() { runtime.LockOSThread() }

var firstThread = make(chan func())

// onFirstThread runs f on the process's first thread, and waits for its end.
func onFirstThread(f func()) {
	done := make(chan struct{})
	firstThread <- func() { defer close(done); f() }
	<-done
}

// TestMain runs the whole suite in a mount namespace of its own, so that no test can leave a mount on the machine.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(playRole(role))
	}
	if os.Geteuid() != 0 {
		fmt.Println("internal/mount: skipped: mounting needs root")
		return
	}
	privatetest.Enter(unix.CLONE_NEWNS)
	os.Exit(privatetest.Run(func() int { return runTests(m) }, leaks))
}

// runTests runs the tests while the calling thread, the first, does what they ask of it.
func runTests(m *testing.M) int {
	ended := make(chan int)
	go func() { ended <- m.Run() }()
	for {
		select {
		case f := <-firstThread:
			f()
		case code := <-ended:
			return code
		}
	}
}

// awaitLeaks gives the leaks once they are as before, or after a minute.
func awaitLeaks(before string) string { return privatetest.Await(leaks, before) }

// leaks: open files, mounts, children and mount namespaces of this process.
func leaks() string {
	children := 0
	tasks, _ := os.ReadDir("/proc/self/task")
	for _, t := range tasks {
		list, _ := os.ReadFile("/proc/self/task/" + t.Name() + "/children")
		children += len(strings.Fields(string(list)))
	}
	return fmt.Sprintf("%d files, %d mounts, %d children, %d mount namespaces", len(privatetest.Files()), len(privatetest.Mounts()), children, mountNamespaces())
}

// mountNamespaces counts those in which threads of this process are.
func mountNamespaces() int { return len(privatetest.Namespaces("mnt")) }

// closeWorkshop calls what closes a workshop, and waits until its thread, too, is no more, which is still there for a moment: the next test would take it for its own.
// There were as many mount namespaces before.
func closeWorkshop(before int, closes func()) {
	closes()
	for deadline := time.Now().Add(time.Minute); mountNamespaces() > before && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
}

func newMounter(t testing.TB, way Way) *Mounter {
	t.Helper()
	before := mountNamespaces()
	m, err := New(t.TempDir(), way)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeWorkshop(before, func() { m.Close() }) })
	return m
}

// need skips a test where this kernel lacks f.
func need(t testing.TB, m *Mounter, f feature) {
	t.Helper()
	ok, err := m.has(f)
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		t.Skipf("this kernel has not: %s (Linux %s)", f, f.since())
	}
}

// eachWay runs f for both ways, skipping the detached one where the kernel lacks what it needs.
func eachWay(t *testing.T, what feature, f func(t *testing.T, m *Mounter)) {
	t.Run("detached", func(t *testing.T) {
		m := newMounter(t, WayDetached)
		need(t, m, what)
		f(t, m)
	})
	t.Run("workshop", func(t *testing.T) { f(t, newMounter(t, WayWorkshop)) })
}

// attach mounts f at a fresh mount point of its kind and returns the path.
func attach(t testing.TB, f *os.File) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "mnt")
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		must(t, os.Mkdir(path, 0o755))
	} else {
		write(t, path, "")
	}
	target, err := openPath(path)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(target)
	must(t, moveMount(int(f.Fd()), target, ""))
	t.Cleanup(func() { unix.Unmount(path, unix.MNT_DETACH) })
	return path
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o644))
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func owner(t testing.TB, path string) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d:%d", st.Uid, st.Gid)
}

// closed closes f at the end of the test.
func closed(t testing.TB) func(f *os.File, err error) *os.File {
	return func(f *os.File, err error) *os.File {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
}

// options gives the mountinfo line of the topmost mount at path.
func options(t testing.TB, path string) string {
	t.Helper()
	last := ""
	for _, line := range strings.Split(read(t, "/proc/self/mountinfo"), "\n") {
		if f := strings.Fields(line); len(f) > 4 && f[4] == path {
			last = line
		}
	}
	return last
}

func kernelAtLeast(t testing.TB, major, minor int) bool {
	t.Helper()
	var u unix.Utsname
	must(t, unix.Uname(&u))
	parts := strings.SplitN(unix.ByteSliceToString(u.Release[:]), ".", 3)
	a, err := strconv.Atoi(parts[0])
	must(t, err)
	b, err := strconv.Atoi(strings.TrimRight(parts[1], "-abcdefghijklmnopqrstuvwxyz"))
	must(t, err)
	return a > major || a == major && b >= minor
}

var testIDs = []IDMapping{{ContainerID: 0, HostID: 100000, Length: 65536}}

func testUserNS(t testing.TB, m *Mounter) *UserNS {
	t.Helper()
	u, err := m.UserNS(testIDs, testIDs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	return u
}

// inUserNS plays a role of this test binary in a user namespace with testIDs and a mount namespace of its own; files are fd 3 and following.
func inUserNS(t *testing.T, role string, files ...*os.File) {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "test")
	// The pod's root must be able to execute it: the build's directory is closed to others.
	self, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	must(t, os.WriteFile(exe, self, 0o755))
	for dir := filepath.Dir(exe); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755))
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	cmd.ExtraFiles = files
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 100000, Size: 65536}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:                 unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings:                ids,
		GidMappings:                ids,
		GidMappingsEnableSetgroups: true,
		Credential:                 &syscall.Credential{Uid: 0, Gid: 0},
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("role %s: %v\n%s", role, err, out)
	}
}

func playRole(role string) int {
	runtime.LockOSThread()
	var err error
	switch role {
	case "dev":
		err = roleDev()
	default:
		err = fmt.Errorf("no such role %q: %w", role, fs.ErrNotExist)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}
