package tree

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDifferences: whatever is changed in a tree of every kind, the description is another one and names the file.
func TestDifferences(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("owners and devices need root")
	}
	old := []unix.Timespec{{Sec: 1}, {Sec: 1_500_000_000, Nsec: 123_456_790}}
	for what, change := range map[string]struct {
		name string
		do   func(path string) error
	}{
		"mode":       {"empty", func(p string) error { return os.Chmod(p, 0o001) }},
		"set-ID bit": {"a/sgid", func(p string) error { return unix.Chmod(p, 0o755) }},
		"owner":      {"shared", func(p string) error { return os.Chown(p, 1, -1) }},
		"a link's owner": {"a/link", func(p string) error {
			return os.Lchown(p, 1, 1)
		}},
		"nanosecond": {"ping", func(p string) error { return unix.UtimesNanoAt(unix.AT_FDCWD, p, old, 0) }},
		"content":    {"a/suid", func(p string) error { return writeAt(p, "X") }},
		"hole":       {"sparse", func(p string) error { return writeAt(p, "X") }},
		"a hard link": {"a/twin", func(p string) error {
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			return replace(p, func() error { return os.WriteFile(p, data, 0o755) })
		}},
		"target": {"a/link-twin", func(p string) error { return replace(p, func() error { return os.Symlink("x", p) }) }},
		"device": {"char", func(p string) error {
			return replace(p, func() error { return unix.Mknod(p, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 6))) })
		}},
		"capability": {"ping", func(p string) error { return unix.Removexattr(p, "security.capability") }},
		"ACL":        {"acl", func(p string) error { return unix.Setxattr(p, "system.posix_acl_default", acl(7), 0) }},
		"gone":       {"fifo", os.Remove},
		"new":        {"new", func(p string) error { return os.WriteFile(p, nil, 0o644) }},
	} {
		t.Run(what, func(t *testing.T) {
			root := t.TempDir()
			if err := Make(root); err != nil {
				t.Fatal(err)
			}
			before, err := Describe(root)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := Describe(root); err != nil || Differ("a", before, "b", again) != "" {
				t.Fatalf("twice the same tree: %v", err)
			}
			if err := change.do(filepath.Join(root, change.name)); err != nil {
				t.Fatal(err)
			}
			after, err := Describe(root)
			if err != nil {
				t.Fatal(err)
			}
			if d := Differ("before", before, "after", after); !strings.Contains(d, `"`+change.name+`"`) {
				t.Errorf("told is %q", d)
			}
		})
	}
}

func writeAt(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(text), 5)
	if err != nil {
		return err
	}
	return f.Close()
}

func replace(path string, anew func() error) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return anew()
}
