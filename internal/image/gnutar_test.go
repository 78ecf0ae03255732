package image

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLikeGNUTar packs a tree of every kind with GNU tar in each of its formats and holds what unpack makes of it to what GNU tar itself does.
func TestLikeGNUTar(t *testing.T) {
	tarBinary, err := exec.LookPath("tar")
	if err != nil {
		t.Skip("needs GNU tar: apt-get install tar")
	}
	source := makeTree(t)
	for _, format := range []string{"gnu", "posix", "oldgnu"} {
		for _, sparse := range []string{"", "--sparse"} {
			t.Run(format+sparse, func(t *testing.T) {
				args := []string{"--format=" + format, "--numeric-owner", "-C", source, "-c", "."}
				if format == "posix" {
					args = append([]string{"--xattrs", "--xattrs-include=*"}, args...)
				}
				if sparse != "" {
					args = append([]string{sparse}, args...)
				}
				packed, err := exec.Command(tarBinary, args...).Output()
				must(t, err)
				want := t.TempDir()
				cmd := exec.CommandContext(context.Background(), tarBinary, "--xattrs", "--xattrs-include=*", "--numeric-owner", "-p", "-C", want, "-x")
				cmd.Stdin = bytes.NewReader(packed)
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				got, size, err := unpackTo(t, bytes.NewReader(packed))
				must(t, err)
				if a, b := describe(t, want), describe(t, got); a != b {
					t.Errorf("GNU tar:\n%s\npodlet:\n%s", a, b)
				}
				checkSize(t, got, size)
			})
		}
	}
}

func makeTree(t *testing.T) string {
	root := t.TempDir()
	at := func(name string) string { return filepath.Join(root, name) }
	must(t, os.MkdirAll(at("a/b/"+strings.Repeat("long-name-", 12)+"/"+strings.Repeat("again-", 20)), 0o755))
	must(t, os.WriteFile(at("a/b/"+strings.Repeat("long-name-", 12)+"/"+strings.Repeat("again-", 20)+"/file"), []byte("deep"), 0o644))
	must(t, os.WriteFile(at("a/suid"), bytes.Repeat([]byte("0123456789"), 100_000), 0o755))
	must(t, os.Chown(at("a/suid"), 12, 34))
	must(t, unix.Chmod(at("a/suid"), 0o4751))
	must(t, unix.Setxattr(at("a/suid"), "user.x", []byte("y\x00z"), 0))
	must(t, os.Link(at("a/suid"), at("a/twin")))
	must(t, os.Symlink("../"+strings.Repeat("t", 150), at("a/link")))
	must(t, os.Lchown(at("a/link"), 77, 88))
	must(t, unix.Mkfifo(at("fifo"), 0o620))
	must(t, unix.Mknod(at("char"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))))
	must(t, unix.Mknod(at("block"), unix.S_IFBLK|0o660, int(unix.Mkdev(7, 300))))
	must(t, os.WriteFile(at("empty"), nil, 0o000))
	must(t, os.WriteFile(at("näme with\nnewline"), []byte("odd"), 0o644))
	must(t, os.Mkdir(at("sticky"), 0o755))
	must(t, unix.Chmod(at("sticky"), 0o1777))
	f, err := os.Create(at("sparse"))
	must(t, err)
	_, err = f.WriteAt([]byte("middle"), 3<<20)
	must(t, err)
	must(t, f.Truncate(9<<20))
	must(t, f.Close())
	old := []unix.Timespec{{Sec: 1_500_000_000}, {Sec: 1_500_000_000}}
	must(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return unix.UtimesNanoAt(unix.AT_FDCWD, path, old, unix.AT_SYMLINK_NOFOLLOW)
	}))
	return root
}

// describe gives a tree as lines: everything but inode numbers, which stand as the first name of a file with several.
func describe(t *testing.T, root string) string {
	t.Helper()
	var lines []string
	first := map[uint64]string{}
	must(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		st := lstat(t, path)
		line := fmt.Sprintf("%q %o %d:%d %d", name, st.Mode, st.Uid, st.Gid, st.Mtim.Sec)
		if name == "." {
			line = fmt.Sprintf("root %o", st.Mode)
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			if of, ok := first[st.Ino]; ok {
				line += " = " + of
			}
			first[st.Ino] = name
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d %s", len(data), digestOf(data))
		case unix.S_IFLNK:
			target, _ := os.Readlink(path)
			line += " -> " + target
		case unix.S_IFCHR, unix.S_IFBLK:
			line += fmt.Sprintf(" %#x", st.Rdev)
		}
		buf := make([]byte, 4096)
		n, _ := unix.Llistxattr(path, buf)
		names := strings.Split(strings.Trim(string(buf[:max(n, 0)]), "\x00"), "\x00")
		sort.Strings(names)
		for _, x := range names {
			if x != "" {
				line += fmt.Sprintf(" %s=%q", x, xattr(path, x))
			}
		}
		lines = append(lines, line)
		return nil
	}))
	return strings.Join(lines, "\n")
}
