package network

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"podlet/hack/privatetest"
)

// TestMain runs the tests in a mount and a network namespace of their own and
// fails if they leave a file open, a mount behind, or a thread in another network namespace.
func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Println("internal/network: skipped: namespaces need root")
		return
	}
	privatetest.Enter(unix.CLONE_NEWNS | unix.CLONE_NEWNET)
	os.Exit(privatetest.Run(m.Run, leaks))
}

func leaks() string {
	return fmt.Sprintf("%d mounts, files %q, network namespaces %q", len(privatetest.Mounts()), privatetest.Files(), privatetest.Namespaces("net"))
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
	return len(privatetest.Mounts())
}
