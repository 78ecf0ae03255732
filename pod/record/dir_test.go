package record

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCVE_C14(t *testing.T) {
	for _, test := range []struct {
		name  string
		umask int
		// before prepares the place.
		before func(t *testing.T, dir string)
		log    string
		fails  string
	}{
		{name: "umask 0", umask: 0},
		{name: "umask 077", umask: 0o077},
		{name: "umask 0777", umask: 0o777},
		{name: "open to all", umask: 0o022, before: func(t *testing.T, dir string) {
			must(t, os.Mkdir(dir, 0o700))
			must(t, os.Chmod(dir, os.ModeSticky|0o777))
		}, log: "wrong mode"},
		{name: "of another user", umask: 0o022, before: func(t *testing.T, dir string) {
			must(t, os.Mkdir(dir, 0o700))
			must(t, os.Chown(dir, 1234, 1234))
		}, log: "another owner"},
		{name: "link", umask: 0o022, before: func(t *testing.T, dir string) {
			must(t, os.Mkdir(dir+".real", 0o755))
			must(t, os.Symlink(dir+".real", dir))
		}, fails: "it is a link"},
		{name: "file", umask: 0o022, before: func(t *testing.T, dir string) { must(t, os.WriteFile(dir, nil, 0o644)) }, fails: "no directory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			if test.before != nil {
				test.before(t, dir)
			}
			var log bytes.Buffer
			old := unix.Umask(test.umask)
			s, err := Open(dir, slog.New(slog.NewTextHandler(&log, nil)))
			if err == nil {
				err = s.Put(podA, Pod, value)
				s.Close()
			}
			unix.Umask(old)
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) {
					t.Fatalf("error %v, want %q", err, test.fails)
				}
				return
			}
			must(t, err)
			if !strings.Contains(log.String(), test.log) || test.log == "" && log.Len() > 0 {
				t.Errorf("log %q, want %q", log.String(), test.log)
			}
			must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
				must(t, err)
				info, err := d.Info()
				must(t, err)
				if mode := info.Mode(); mode.Perm()&0o077 != 0 || mode.IsDir() && mode&os.ModeSticky != 0 {
					t.Errorf("%s has mode %v", path, mode)
				}
				var st unix.Stat_t
				must(t, unix.Lstat(path, &st))
				if st.Uid != 0 || st.Gid != 0 {
					t.Errorf("%s belongs to %d:%d", path, st.Uid, st.Gid)
				}
				return nil
			}))
			if got := open(t, dir).mustLoad(t); len(got) != 1 {
				t.Errorf("loaded %q", got)
			}
		})
	}
}

func TestSubdirectoryLinkIsRefused(t *testing.T) {
	for _, sub := range []string{"pods", "quarantine", "reserve"} {
		dir, elsewhere := filepath.Join(t.TempDir(), "state"), t.TempDir()
		must(t, os.Mkdir(dir, 0o700))
		must(t, os.Symlink(elsewhere, filepath.Join(dir, sub)))
		if s, err := Open(dir, slog.New(slog.DiscardHandler)); err == nil {
			s.Close()
			t.Errorf("%s as a link was followed", sub)
		}
		if left := names(t, elsewhere); len(left) > 0 {
			t.Errorf("written through the link %s: %q", sub, left)
		}
	}
}

func TestPrivateDirMakesParents(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a/b/c")
	f, err := PrivateDir(path, slog.New(slog.DiscardHandler))
	must(t, err)
	f.Close()
	for _, bad := range []string{"", "/", ".", "..", "a/.."} {
		if f, err := PrivateDir(bad, slog.New(slog.DiscardHandler)); err == nil {
			f.Close()
			t.Errorf("PrivateDir(%q) was taken", bad)
		}
	}
}
