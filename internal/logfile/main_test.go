package logfile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

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
	before := leaks()
	code := m.Run()
	if after := leaks(); code == 0 && after != before {
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

// pinsOfOthers counts the pods' pins that came along when the mount namespace was copied: they go, here too, when their pods end.
func pinsOfOthers(mounts []byte) int { return bytes.Count(mounts, []byte(" /run/netns/")) }

func leaks() string {
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	entries, _ := os.ReadDir("/proc/self/fd")
	var files []string
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && !strings.HasPrefix(target, "anon_inode:[event") {
			files = append(files, target)
		}
	}
	return fmt.Sprintf("%d mounts, files %q", bytes.Count(mounts, []byte("\n"))-pinsOfOthers(mounts), files)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
