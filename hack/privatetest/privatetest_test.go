package privatetest

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Println("hack/privatetest: skipped: namespaces need root")
		return
	}
	Enter(unix.CLONE_NEWNS | unix.CLONE_NEWNET)
	os.Exit(Run(m.Run, leaks))
}

func leaks() string {
	return fmt.Sprintf("mounts %q, files %q, network namespaces %q", Mounts(), Files(), Namespaces("net"))
}

// TestRunFails: the tests' own failure counts, and whatever they leave does.
func TestRunFails(t *testing.T) {
	was := settleTime
	settleTime = 100 * time.Millisecond
	defer func() { settleTime = was }()

	if got := Run(func() int { return 0 }, leaks); got != 0 {
		t.Errorf("nothing is left: %d", got)
	}
	if got := Run(func() int { return 7 }, leaks); got != 7 {
		t.Errorf("the tests give 7: %d", got)
	}

	var file *os.File
	opens := func() int {
		var err error
		if file, err = os.Open("/dev/null"); err != nil {
			t.Fatal(err)
		}
		return 0
	}
	if got := Run(opens, leaks); got != 1 {
		t.Errorf("a file is left open: %d", got)
	}
	file.Close()

	at := t.TempDir()
	mounts := func() int {
		if err := unix.Mount("tmpfs", at, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
		return 0
	}
	if got := Run(mounts, leaks); got != 1 {
		t.Errorf("a mount is left: %d", got)
	}
	if own := Mounts(); len(own) != 1 || !strings.Contains(own[0], at) {
		t.Errorf("mounts besides those that came along: %q", own)
	}
	if err := unix.Unmount(at, 0); err != nil {
		t.Fatal(err)
	}
}

// TestRunWaits: what goes by itself is not left.
func TestRunWaits(t *testing.T) {
	slow := func() int {
		file, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(50*time.Millisecond, func() { file.Close() })
		return 0
	}
	if got := Run(slow, leaks); got != 0 {
		t.Errorf("a file is closed a moment later: %d", got)
	}
}

// TestPrivate: the namespaces are not those of the parent.
func TestPrivate(t *testing.T) {
	for _, kind := range []string{"mnt", "net"} {
		parent, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", os.Getppid(), kind))
		if err != nil {
			t.Fatal(err)
		}
		if own := Namespaces(kind); len(own) != 1 || own[0] == parent {
			t.Errorf("%s: threads in %q, the parent in %s", kind, own, parent)
		}
	}
}
