package image

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDirectories: the state is podlet's alone, whatever the umask and whatever was there before (CVE-2024-25621).
func TestDirectories(t *testing.T) {
	modes := func(root string) {
		t.Helper()
		for _, name := range []string{"", dirLayers, dirImages, dirTmp, dirQuarantine} {
			if st := lstat(t, filepath.Join(root, name)); st.Mode != unix.S_IFDIR|0o700 || st.Uid != 0 {
				t.Errorf("%q: %o, owner %d", name, st.Mode, st.Uid)
			}
		}
		if st := lstat(t, root+"/lock"); st.Mode != unix.S_IFREG|0o600 {
			t.Errorf("lock: %o", st.Mode)
		}
	}
	for _, mask := range []int{0, 0o022, 0o077, 0o777} {
		old := unix.Umask(mask)
		root := filepath.Join(t.TempDir(), "store")
		unix.Umask(mask)
		s, err := open(root, "boot-1")
		unix.Umask(old)
		if mask == 0o777 {
			// Nothing can be made under a directory nobody may enter but root, who may.
			must(t, err)
		}
		must(t, err)
		must(t, s.Close())
		modes(root)
	}

	wide := filepath.Join(t.TempDir(), "store")
	must(t, os.Mkdir(wide, 0o755))
	must(t, os.Chmod(wide, 0o777))
	must(t, os.Mkdir(wide+"/layers", 0o755))
	must(t, os.Chmod(wide+"/layers", 0o1777))
	mark := logged.mark()
	openStore(t, wide, "boot-1")
	modes(wide)
	if n := strings.Count(logged.since(mark), "was open to others"); n != 2 {
		t.Errorf("%d warnings: %s", n, logged.since(mark))
	}

	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(t.TempDir(), link))
	if _, err := Open(link); err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Error(err)
	}
	inner := t.TempDir()
	must(t, os.Symlink("/tmp", inner+"/layers"))
	if _, err := Open(inner); err == nil {
		t.Error("layers may be a link")
	}
	foreign := t.TempDir()
	must(t, os.Chown(foreign, 12345, 0))
	if _, err := Open(foreign); err == nil || !strings.Contains(err.Error(), "12345") {
		t.Error(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	if _, err := Open(file); err == nil {
		t.Error("a file is no store")
	}
}

func TestLocked(t *testing.T) {
	s := newStore(t)
	if _, err := Open(s.path); !errors.Is(err, ErrLocked) {
		t.Error(err)
	}
	reopen(t, s, "boot-1")
}
