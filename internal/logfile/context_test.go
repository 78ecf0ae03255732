package logfile

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// frozenDir gives a directory on a file system of its own, and freeze, whose result thaws it.
func frozenDir(t *testing.T) (dir string, freeze func() (thaw func())) {
	t.Helper()
	image, at := filepath.Join(t.TempDir(), "image"), t.TempDir()
	must(t, os.WriteFile(image, nil, 0o600))
	must(t, os.Truncate(image, 16<<20))
	for _, args := range [][]string{{"mkfs.ext4", "-q", image}, {"mount", "-o", "loop", image, at}} {
		if _, err := exec.LookPath(args[0]); err != nil {
			t.Skipf("this machine has no %s to make a file system that can be frozen", args[0])
		}
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, 0); err != nil {
			t.Error(err)
		}
	})
	const fifreeze, fithaw = 0xc0045877, 0xc0045878
	return at, func() func() {
		f, err := os.Open(at)
		must(t, err)
		must(t, unix.IoctlSetInt(int(f.Fd()), fifreeze, 0))
		return func() {
			unix.IoctlSetInt(int(f.Fd()), fithaw, 0)
			f.Close()
		}
	}
}

// impatient is a context whose deadline comes soon after somebody has begun to wait for it, and not before, however long he takes to come to that.
type impatient struct {
	context.Context
	once sync.Once
	done chan struct{}
}

func (c *impatient) Done() <-chan struct{} {
	c.once.Do(func() { time.AfterFunc(50*time.Millisecond, func() { close(c.done) }) })
	return c.done
}

func (c *impatient) Err() error {
	select {
	case <-c.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func TestFrozenDisk(t *testing.T) {
	at, freeze := frozenDir(t)
	must(t, os.Mkdir(at+"/pod", 0o755))
	thaw := freeze()
	defer func() { thaw() }()

	if _, err := OpenContext(&impatient{Context: t.Context(), done: make(chan struct{})}, at+"/pod", "0.log"); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrHangs) {
		t.Fatalf("on a frozen disk: %v", err)
	}
	// The next ones wait for nothing, though their context would let them. (Were it without end, a mistake here would leave a frozen disk on the machine.)
	patient, done := context.WithTimeout(t.Context(), time.Minute)
	defer done()
	for range 100 {
		if _, err := OpenContext(patient, at+"/pod", "1.log"); !errors.Is(err, ErrHangs) || errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("the next open: %v", err)
		}
	}
	// Other pods' logs are opened as ever.
	f, err := OpenContext(context.Background(), t.TempDir(), "0.log")
	must(t, err)
	f.Close()

	thaw()
	thaw = func() {}
	for hangs(at + "/pod") {
		time.Sleep(time.Millisecond)
	}
	f, err = OpenContext(context.Background(), at+"/pod", "0.log")
	must(t, err)
	f.Close()
}

func TestEndedContext(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, path := range []string{"0.log", "../0.log"} {
		want := context.Canceled
		if path == "../0.log" {
			want = ErrInvalid // what is wrong with the path comes first
		}
		if _, err := OpenContext(ctx, dir, path); !errors.Is(err, want) {
			t.Errorf("OpenContext %s: %v", path, err)
		}
		if _, err := ReopenContext(ctx, dir, path); !errors.Is(err, want) {
			t.Errorf("ReopenContext %s: %v", path, err)
		}
	}
	if got := tree(t, dir); len(got) != 1 {
		t.Errorf("made: %q", got)
	}
}
