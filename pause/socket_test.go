package pause

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestListen(t *testing.T) {
	leakChecked(t)
	// Below the root, since a test's own directory may be too long already.
	dir, err := os.MkdirTemp("/tmp", "podlet-pause")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	deep := filepath.Join(dir, strings.Repeat("d", 150))
	must(t, os.Mkdir(deep, 0o700))
	for _, path := range []string{
		filepath.Join(dir, strings.Repeat("s", maxSocketPath-len(dir)-1)),
		filepath.Join(dir, strings.Repeat("s", maxSocketPath-len(dir))),
		filepath.Join(deep, "sock"),
	} {
		f, err := Listen(path)
		must(t, err)
		var st unix.Stat_t
		must(t, unix.Lstat(path, &st))
		if st.Mode != unix.S_IFSOCK|0o600 {
			t.Errorf("%s: mode %o", path, st.Mode)
		}
		if _, err := Listen(path); !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("a second time: %v, want EADDRINUSE", err)
		}
		sock, err := connect(path)
		must(t, err)
		must(t, sock.Close())
		fd, err := fdOf(f)
		must(t, err)
		conn, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
		must(t, err)
		unix.Close(conn)
		if _, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC); !errors.Is(err, unix.EAGAIN) {
			t.Errorf("accept without a caller: %v, want EAGAIN", err)
		}
		must(t, f.Close())
	}
	for path, want := range map[string]error{
		filepath.Join(dir, "none", "sock"):                      os.ErrNotExist,
		filepath.Join(deep, "none", "sock"):                     os.ErrNotExist,
		filepath.Join(deep, strings.Repeat("s", maxSocketPath)): unix.ENAMETOOLONG,
	} {
		if _, err := Listen(path); !errors.Is(err, want) {
			t.Errorf("Listen at %s: %v, want %v", path, err, want)
		}
		if _, err := Dial(limited(t), path, nil); !errors.Is(err, want) {
			t.Errorf("Dial to %s: %v, want %v", path, err, want)
		}
	}
}
