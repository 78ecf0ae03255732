package mount

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMasks(t *testing.T) {
	eachWay(t, cloneDetached, func(t *testing.T, m *Mounter) {
		dir, other := attach(t, closed(t)(m.MaskDir())), attach(t, closed(t)(m.MaskDir()))
		for _, d := range []string{dir, other} {
			entries, err := os.ReadDir(d)
			if err != nil || len(entries) != 0 {
				t.Errorf("%v, %v", entries, err)
			}
			if err := os.Mkdir(filepath.Join(d, "x"), 0o755); !errors.Is(err, unix.EROFS) {
				t.Errorf("mkdir: %v", err)
			}
			if err := os.Chmod(d, 0o777); !errors.Is(err, unix.EROFS) {
				t.Errorf("chmod: %v", err)
			}
		}
		path := attach(t, closed(t)(m.MaskFile()))
		if got := describe(t, path); got != "c 666 1:3 0:0" {
			t.Errorf("file mask is %s", got)
		}
		must(t, os.WriteFile(path, []byte("swallowed"), 0))
		if got := read(t, path); got != "" {
			t.Errorf("read %q", got)
		}
		for name, err := range map[string]error{
			"chmod": os.Chmod(path, 0), "chown": os.Chown(path, 1, 1), "utimes": unix.Utimes(path, make([]unix.Timeval, 2)),
		} {
			if !errors.Is(err, unix.EROFS) {
				t.Errorf("%s: %v", name, err)
			}
		}
		// Not even a remount of the one mount opens the shared superblock.
		must(t, unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_BIND, ""))
		if err := os.Chmod(path, 0); !errors.Is(err, unix.EROFS) {
			t.Errorf("chmod after a remount: %v", err)
		}
	})
}

func TestTmpfs(t *testing.T) {
	path := attach(t, closed(t)(Tmpfs(TmpfsConfig{Size: 1 << 20, Inodes: 100, Mode: 0o1777, UID: 5, GID: 6, NoSuid: true, NoDev: true, NoExec: true})))
	if got := describe(t, path); got != "d 1777 5:6" {
		t.Error(got)
	}
	line := options(t, path)
	for _, word := range []string{"rw,nosuid,nodev,noexec", "size=1024k", "nr_inodes=100"} {
		if !strings.Contains(line, word) {
			t.Errorf("%q is missing in %s", word, line)
		}
	}
	for _, c := range []TmpfsConfig{{}, {Size: 1}, {Size: 1, Inodes: 1, UID: -1}, {Size: 1, Inodes: 1, Mode: 0o100644}} {
		if _, err := Tmpfs(c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}
