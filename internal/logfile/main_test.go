package logfile

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"podlet/hack/privatetest"
)

// TestMain runs the tests in a mount namespace of their own and fails if they leave a file open or a mount behind.
func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Println("internal/logfile: skipped: the tests mount and freeze a file system, which needs root")
		return
	}
	privatetest.Enter(unix.CLONE_NEWNS)
	os.Exit(privatetest.Run(m.Run, leaks))
}

func leaks() string {
	return fmt.Sprintf("%d mounts, files %q", len(privatetest.Mounts()), privatetest.Files())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
