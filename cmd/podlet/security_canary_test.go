package main

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// canary is a tree on the host that no container may change, though it knows its path.
type canary struct {
	t      *testing.T
	dir    string
	before map[string]string
}

// newCanary makes a tree with what a runtime might make or take for its own in a root filesystem, and watches it until the end of the test.
func newCanary(t *testing.T) *canary {
	t.Helper()
	c := &canary{t: t, dir: filepath.Join(t.TempDir(), "canary")}
	for _, dir := range []string{"", "pts", "shm", "mqueue", "fs", "fs/cgroup", "sys", "sys/kernel", "inner"} {
		c.must(os.Mkdir(filepath.Join(c.dir, dir), 0o755))
	}
	for _, file := range []string{"file", "null", "console", "ptmx", "hosts", "hostname", "resolv.conf", "passwd", "group", "mtab", "secret", "kcore", "sys/kernel/core_pattern"} {
		c.must(os.WriteFile(filepath.Join(c.dir, file), []byte("canary "+file+"\n"), 0o640))
	}
	c.must(unix.Mkfifo(filepath.Join(c.dir, "fifo"), 0o600))
	c.must(os.Symlink("file", filepath.Join(c.dir, "link")))
	c.must(os.Chown(filepath.Join(c.dir, "secret"), 4242, 4243))
	c.must(unix.Setxattr(filepath.Join(c.dir, "file"), "user.canary", []byte("sings"), 0))
	c.before = c.state()
	t.Cleanup(c.check)
	return c
}

func (c *canary) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// state tells everything of every file. The time of the last change of the inode covers what nobody thought of.
func (c *canary) state() map[string]string {
	c.t.Helper()
	state := map[string]string{"host /dev/null": describe(c.t, "/dev/null", false)}
	c.must(filepath.WalkDir(c.dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			state[path] = describe(c.t, path, true)
		}
		return err
	}))
	return state
}

func describe(t *testing.T, path string, times bool) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("inode %d mode %o owner %d:%d links %d size %d", st.Ino, st.Mode, st.Uid, st.Gid, st.Nlink, st.Size)
	if times {
		text += fmt.Sprintf(" modified %d.%09d changed %d.%09d", st.Mtim.Sec, st.Mtim.Nsec, st.Ctim.Sec, st.Ctim.Nsec)
	}
	names := make([]byte, 1024)
	if n, err := unix.Llistxattr(path, names); err == nil {
		text += fmt.Sprintf(" xattrs %q", names[:n])
	}
	if st.Mode&unix.S_IFMT == unix.S_IFREG {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintf(" content %x", sha256.Sum256(content))
	}
	return text
}

// check says what has changed.
func (c *canary) check() {
	c.t.Helper()
	after := c.state()
	for _, path := range slices.Sorted(maps.Keys(after)) {
		if c.before[path] == "" {
			c.t.Errorf("canary: %s has come", path)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(c.before)) {
		if after[path] != c.before[path] {
			c.t.Errorf("canary: %s\nwas %s\nis  %s", path, c.before[path], after[path])
		}
	}
}
