package pause

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestBothBinaryFiles starts the nursery from each kind of file; neither can be changed through a process's exe.
func TestBothBinaryFiles(t *testing.T) {
	for name, open := range map[string]func() (*os.File, error){"memfd": binaryMemfd, "tmpfs": binaryTmpfs} {
		t.Run(name, func(t *testing.T) {
			leakChecked(t)
			f, err := open()
			must(t, err)
			defer f.Close()
			n := startNurseryWith(t, Options{Binary: f})
			pid, err := PID(n.PIDFD)
			must(t, err)
			exe := fmt.Sprintf("/proc/%d/exe", pid)
			content, err := os.ReadFile(exe)
			must(t, err)
			if string(content) != pauseBinary {
				t.Errorf("%s has %d bytes, the embedded binary %d", exe, len(content), len(pauseBinary))
			}
			w, err := os.OpenFile(exe, os.O_RDWR, 0)
			if err == nil {
				_, err = w.Write([]byte("x"))
				w.Close()
			}
			if err == nil {
				t.Error("it can be written to")
			}
			fd, err := fdOf(f)
			must(t, err)
			if _, err := unix.Pwrite(fd, []byte("x"), 0); err == nil {
				t.Error("it can be written to by podlet's own fd")
			}
			if err := unix.Ftruncate(fd, 0); err == nil {
				t.Error("it can be cut by podlet's own fd")
			}
			// The nursery alone keeps it alive: the caller's file may go.
			must(t, f.Close())
			_, err = n.List(limited(t))
			must(t, err)
		})
	}
}

// TestNoExecMemfd: vm.memfd_noexec=2 is a PID namespace's own.
func TestNoExecMemfd(t *testing.T) {
	if _, err := os.Stat("/proc/sys/vm/memfd_noexec"); err != nil {
		t.Skip("this kernel has no vm.memfd_noexec (Linux 6.3): nothing forbids executing a memfd")
	}
	reexec(t, "memfd_noexec", unix.CLONE_NEWPID|unix.CLONE_NEWNS)
}

func roleMemfdNoExec() error {
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/sys/vm/memfd_noexec", []byte("2"), 0); err != nil {
		return err
	}
	if _, err := binaryMemfd(); !errors.Is(err, unix.EACCES) {
		return fmt.Errorf("an executable memfd: %v, want EACCES", err)
	}
	ctx, cancel := roleContext()
	defer cancel()
	exits := newEvents()
	n, err := Start(ctx, Options{OnExit: exits.add})
	if err != nil {
		return err
	}
	p, err := n.Clone(ctx, Clone{ID: testID(1), Kind: KindExec, Tape: execTape("/bin/true")})
	if err != nil {
		return errors.Join(err, n.Close())
	}
	p.PIDFD.Close()
	if s := <-exits; s.Err() != nil {
		err = s.Err()
	}
	return errors.Join(err, n.Close())
}

// TestMissingBinary: who builds without pause must read what to do about it.
func TestMissingBinary(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go command")
	}
	dir := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum"} {
		copyFile(t, filepath.Join("..", name), filepath.Join(dir, name))
	}
	must(t, os.Mkdir(filepath.Join(dir, "pause"), 0o755))
	name := filepath.Join("pause", "run_make_pause_"+runtime.GOARCH+".go")
	copyFile(t, filepath.Join("..", name), filepath.Join(dir, name))
	cmd := exec.CommandContext(limited(t), "go", "build", "./pause")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "run_make_pause") || !strings.Contains(string(out), "made-by-make/pause-"+runtime.GOARCH) {
		t.Errorf("go build says %v:\n%s", err, out)
	}
	t.Logf("go build says:\n%s", out)
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	must(t, err)
	must(t, os.WriteFile(to, b, 0o600))
}
