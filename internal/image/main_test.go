package image

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"podlet/hack/privatetest"
	"podlet/hack/testimages/testimage"
)

const roleEnv = "PODLET_IMAGE_TEST_ROLE"

// TestMain runs the suite in a mount namespace of its own, since some tests fill a small file system, and ends with a look at what was left behind.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(playRole(role))
	}
	if os.Geteuid() != 0 {
		fmt.Println("internal/image: skipped: owners, devices and mounts need root")
		return
	}
	privatetest.Enter(unix.CLONE_NEWNS)
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

// state is what tests may leave behind in this process.
type state struct {
	files, mounts []string
	goroutines    int
}

func leaks() state {
	return state{privatetest.Files(), privatetest.Mounts(), runtime.NumGoroutine()}
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

// since gives what came on top of before.
func (s state) since(before state) string {
	var b strings.Builder
	if len(s.files) > len(before.files) {
		fmt.Fprintf(&b, "files: %q, before: %q\n", s.files, before.files)
	}
	for _, m := range s.mounts {
		if !slices.Contains(before.mounts, m) {
			fmt.Fprintf(&b, "mount: %s", m)
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
