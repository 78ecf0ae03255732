package logfile

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const privateEnv = "PODLET_LOGFILE_TEST_PRIVATE"

// TestMain runs the tests in a mount namespace of their own and fails if they leave a file open or a mount behind.
func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Println("internal/logfile: skipped: the tests mount and freeze a file system, which needs root")
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
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
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
	return fmt.Sprintf("%d mounts, files %q", len(ownMounts()), files)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
