package image

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"podlet/hack/testimages/testimage"
)

const (
	privateEnv = "PODLET_IMAGE_TEST_PRIVATE"
	roleEnv    = "PODLET_IMAGE_TEST_ROLE"
)

// TestMain runs the suite in a mount namespace of its own, since some tests fill a small file system, and ends with a look at what was left behind.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(playRole(role))
	}
	if os.Geteuid() != 0 {
		fmt.Println("internal/image: skipped: owners, devices and mounts need root")
		return
	}
	if os.Getenv(privateEnv) == "" {
		os.Exit(runPrivate())
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(logged, nil)))
	before := leaks()
	code := m.Run()
	// A fuzzing "go test" keeps a goroutine for signals.
	fuzzing := flag.Lookup("test.fuzz").Value.String() != ""
	if left := leftBehind(before); code == 0 && left != "" && !fuzzing {
		buf := make([]byte, 1<<20)
		fmt.Printf("left behind:\n%s%s\n", left, buf[:runtime.Stack(buf, true)])
		code = 1
	}
	os.Exit(code)
}

func runPrivate() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), privateEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = inherited()
	// Go makes the whole tree private with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	runtime.LockOSThread() // whose end the kernel takes for the parent's
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// inherited are the pipes by which "go test -fuzz" talks to its workers: fds 3 to 5.
func inherited() []*os.File {
	var files []*os.File
	for fd := uintptr(3); fd <= 5; fd++ {
		if !slices.ContainsFunc(os.Args, func(a string) bool { return strings.HasPrefix(a, "-test.fuzzworker") }) {
			break
		}
		files = append(files, os.NewFile(fd, "fuzz"))
	}
	return files
}

// state is what tests may leave behind in this process.
type state struct {
	files, mounts []string
	goroutines    int
}

func leaks() state {
	s := state{goroutines: runtime.NumGoroutine()}
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.HasPrefix(target, "anon_inode:[event") && !strings.HasPrefix(target, "/sys/fs/cgroup") {
			s.files = append(s.files, e.Name()+" "+target)
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	s.mounts = strings.Split(string(mounts), "\n")
	return s
}

// leftBehind is what came on top of before and stays: a goroutine that is about to end gets a moment.
func leftBehind(before state) (left string) {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if left = leaks().since(before); left == "" {
			return ""
		}
		time.Sleep(10 * time.Millisecond)
	}
	return left
}

// since gives what came on top of before. (Mounts may go: the kernel takes one away when somebody removes its mount point in another namespace.)
func (s state) since(before state) string {
	var b strings.Builder
	if len(s.files) > len(before.files) {
		fmt.Fprintf(&b, "files: %q, before: %q\n", s.files, before.files)
	}
	for _, m := range s.mounts {
		if !slices.Contains(before.mounts, m) {
			fmt.Fprintf(&b, "mount: %s\n", m)
		}
	}
	if s.goroutines > before.goroutines {
		fmt.Fprintf(&b, "goroutines: %d, before: %d\n", s.goroutines, before.goroutines)
	}
	return b.String()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newStore opens a fresh store, whose holds are complete, and closes it after the test.
func newStore(t testing.TB) *Store {
	t.Helper()
	return openStore(t, filepath.Join(t.TempDir(), "store"), "boot-1")
}

func openStore(t testing.TB, root, boot string) *Store {
	t.Helper()
	s, err := open(root, boot)
	must(t, err)
	t.Cleanup(func() {
		if _, done := closedStores.LoadAndDelete(s); !done {
			s.Close()
		}
	})
	s.HoldsComplete()
	return s
}

// closedStores are those that a test closed itself.
var closedStores sync.Map

// reopen closes s and opens its directory again, as after a restart in the given boot.
func reopen(t testing.TB, s *Store, boot string) *Store {
	t.Helper()
	must(t, s.Close())
	closedStores.Store(s, true)
	return openStore(t, s.path, boot)
}

func importImage(t testing.TB, s *Store, i testimage.Image) Image {
	t.Helper()
	dir := t.TempDir()
	must(t, i.WriteLayout(dir))
	images, err := s.Import(context.Background(), dir, ImportOptions{})
	must(t, err)
	if len(images) != 1 {
		t.Fatalf("imported %d images", len(images))
	}
	return images[0]
}
