package record

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"podlet/hack/privatetest"
)

const writerEnv = "PODLET_RECORD_TEST_WRITER"

// TestMain runs the tests in a mount namespace of their own and fails if they leave a file open or a mount behind.
func TestMain(m *testing.M) {
	if dir := os.Getenv(writerEnv); dir != "" {
		os.Exit(writer(dir))
	}
	if os.Geteuid() != 0 {
		fmt.Println("pod/record: skipped: the tests mount small file systems and give files away, which needs root")
		return
	}
	privatetest.Enter(unix.CLONE_NEWNS)
	os.Exit(privatetest.Run(m.Run, leaks))
}

func leaks() string {
	return fmt.Sprintf("%d mounts, files %q", len(privatetest.Mounts()), privatetest.Files())
}

// ids for tests.
var (
	podA  = strings.Repeat("a", 64)
	podB  = strings.Repeat("b", 64)
	ctr1  = Container(strings.Repeat("1", 64))
	ctr2  = Container(strings.Repeat("2", 64))
	value = payload{Name: "web", Text: "naïve \x00 \n text", Number: 1}
)

type payload struct {
	Name, Text string
	Number     int
}

// logged is a store with what it logged.
type logged struct {
	*Store
	log *bytes.Buffer
}

func open(t testing.TB, dir string) logged {
	t.Helper()
	log := &bytes.Buffer{}
	s, err := Open(dir, slog.New(slog.NewTextHandler(log, nil)))
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return logged{s, log}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return b
}

func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	list := []string{}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// load gives the entries, each as "<pod's letter>/<name>:<number>", and fails if something was quarantined.
func (s logged) mustLoad(t testing.TB) []string {
	t.Helper()
	entries, quarantined, err := s.Load()
	must(t, err)
	if len(quarantined) > 0 {
		t.Fatalf("quarantined: %+v", quarantined)
	}
	var list []string
	for _, e := range entries {
		var p payload
		must(t, e.Decode(&p))
		list = append(list, fmt.Sprintf("%.1s/%.11s:%d", e.PodID, e.Name, p.Number))
	}
	return list
}

// tmpfs mounts one with the options and gives a directory in it.
func tmpfs(t testing.TB, options string) string {
	t.Helper()
	at := t.TempDir()
	must(t, unix.Mount("tmpfs", at, "tmpfs", 0, options))
	t.Cleanup(func() {
		if err := unix.Unmount(at, 0); err != nil {
			t.Errorf("unmount %s: %v", at, err)
		}
	})
	return filepath.Join(at, "state")
}
