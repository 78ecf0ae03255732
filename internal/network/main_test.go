package network

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const privateEnv = "PODLET_NETWORK_TEST_PRIVATE"

// TestMain runs the tests in a mount and a network namespace of their own and
// fails if they leave a file open, a mount behind, or a thread in another network namespace.
func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Println("internal/network: skipped: namespaces need root")
		return
	}
	if os.Getenv(privateEnv) == "" {
		os.Exit(runPrivate())
	}
	inherit()
	before := leaks()
	code := m.Run()
	if after := awaitLeaks(before); code == 0 && after != before {
		fmt.Printf("left behind: before %s, after %s\n", before, after)
		code = 1
	}
	os.Exit(code)
}

func runPrivate() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), privateEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Unshareflags: unix.CLONE_NEWNS}
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// inherited are the mounts that came along when the mount namespace was copied, by their numbers: they go, here too, when somebody removes their mount points.
var inherited = map[string]bool{}

// inherit is called before the tests mount anything.
func inherit() {
	for _, line := range ownMounts() {
		inherited[strings.Fields(line)[0]] = true
	}
}

// ownMounts are the lines of the mount table but for those of inherited mounts.
func ownMounts() []string {
	table, _ := os.ReadFile("/proc/self/mountinfo")
	var own []string
	for line := range strings.Lines(string(table)) {
		if !inherited[strings.Fields(line)[0]] {
			own = append(own, line)
		}
	}
	return own
}

// awaitLeaks gives what was left behind once it is as before, or after a minute: the last goroutines of tests may be about to close a file still.
func awaitLeaks(before string) (after string) {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if after = leaks(); after == before || time.Now().After(deadline) {
			return after
		}
	}
}

func leaks() string {
	entries, _ := os.ReadDir("/proc/self/fd")
	var files []string
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && !strings.HasPrefix(target, "anon_inode:[event") {
			files = append(files, target)
		}
	}
	return fmt.Sprintf("%d mounts, files %q, network namespaces %q", len(ownMounts()), files, threadNamespaces())
}

// threadNamespaces gives the network namespaces in which threads of this process are.
func threadNamespaces() []string {
	tasks, _ := os.ReadDir("/proc/self/task")
	seen := map[string]bool{}
	var list []string
	for _, t := range tasks {
		if ns, err := os.Readlink("/proc/self/task/" + t.Name() + "/ns/net"); err == nil && !seen[ns] {
			seen[ns] = true
			list = append(list, ns)
		}
	}
	return list
}

// newNetNS makes a network namespace in which enter, if any, is run.
func newNetNS(t testing.TB, enter func() error) *os.File {
	t.Helper()
	type result struct {
		f   *os.File
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			done <- result{nil, err}
			return
		}
		defer home.Close()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- result{nil, err}
			return
		}
		f, err := os.Open("/proc/thread-self/ns/net")
		if err == nil && enter != nil {
			err = enter()
		}
		// Else the goroutine ends locked, and the thread with it.
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- result{f, err}
	}()
	r := <-done
	must(t, r.err)
	t.Cleanup(func() { r.f.Close() })
	return r.f
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mountLines(t testing.TB) int {
	t.Helper()
	return len(ownMounts())
}
