package record

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	privateEnv = "PODLET_RECORD_TEST_PRIVATE"
	writerEnv  = "PODLET_RECORD_TEST_WRITER"
)

// TestMain runs the tests in a mount namespace of their own and fails if they leave a file open or a mount behind.
func TestMain(m *testing.M) {
	if dir := os.Getenv(writerEnv); dir != "" {
		os.Exit(writer(dir))
	}
	if os.Geteuid() != 0 {
		fmt.Println("pod/record: skipped: the tests mount small file systems and give files away, which needs root")
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
