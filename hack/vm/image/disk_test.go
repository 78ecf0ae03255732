package image

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func needTool(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("this machine has no %s", name)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestExt4(t *testing.T) {
	needTool(t, "mke2fs")
	needTool(t, "debugfs")
	dir, disk := t.TempDir(), filepath.Join(t.TempDir(), "disk, with a comma")
	write(t, filepath.Join(dir, "sub/file"), "contents\n")
	const size = 16 << 20
	if err := Ext4(t.Context(), disk, size, "label", dir); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(disk); err != nil || info.Size() != size {
		t.Errorf("%v, %v", info, err)
	}
	text, err := run(command(t.Context(), "debugfs", "-R", "cat /sub/file", disk))
	if err != nil || string(text) != "contents\n" {
		t.Errorf("the file on the disk is %q, %v", text, err)
	}
	if err := Ext4(t.Context(), disk, size, "label", dir); !errors.Is(err, os.ErrExist) {
		t.Errorf("over a disk that is there: %v", err)
	}
	// What doesn't fit leaves no disk.
	small := filepath.Join(t.TempDir(), "small")
	write(t, filepath.Join(dir, "large"), strings.Repeat("x", 2<<20))
	if err := Ext4(t.Context(), small, 1<<20, "label", dir); err == nil {
		t.Error("2 MB were put on a disk of 1 MB")
	}
	if _, err := os.Stat(small); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the failed disk is there: %v", err)
	}
}

// Packages that still ship /lib and /bin don't replace the links into /usr.
func TestUnpack(t *testing.T) {
	needTool(t, "dpkg-deb")
	if os.Geteuid() != 0 {
		t.Skip("unpacking keeps owners: it needs root")
	}
	from, root := t.TempDir(), filepath.Join(t.TempDir(), "root")
	write(t, filepath.Join(from, "DEBIAN/control"), "Package: sample\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@invalid>\nDescription: a sample\n")
	write(t, filepath.Join(from, "lib/old"), "old")
	write(t, filepath.Join(from, "usr/lib/new"), "new")
	write(t, filepath.Join(from, "usr/share/doc/sample/copyright"), "left out")
	archive := filepath.Join(t.TempDir(), "sample.deb")
	if _, err := run(command(t.Context(), "dpkg-deb", "-b", from, archive)); err != nil {
		t.Fatal(err)
	}
	if err := unpack(t.Context(), root, []string{archive}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"usr/lib/old": "old", "lib/new": "new"} {
		if text, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	if target, err := os.Readlink(filepath.Join(root, "lib")); err != nil || target != "usr/lib" {
		t.Errorf("lib is %q, %v", target, err)
	}
	if _, err := os.Stat(filepath.Join(root, "usr/share/doc/sample")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("documentation was unpacked: %v", err)
	}
	write(t, archive, "no package")
	if err := unpackOne(t.Context(), root, archive); err == nil {
		t.Error("a broken package was unpacked")
	}
}

func TestLock(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lock")
	said := make(chan string, 1)
	say := func(format string, _ ...any) { said <- format }
	held, err := lock(t.Context(), file, say)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()

	gone, cancel := context.WithCancel(t.Context())
	go func() { <-said; cancel() }()
	if _, err := lock(gone, file, say); !errors.Is(err, context.Canceled) {
		t.Errorf("a wait that was given up: %v", err)
	}

	go func() { <-said; held.Close() }()
	again, err := lock(t.Context(), file, say)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestRemoveOthers(t *testing.T) {
	cache := t.TempDir()
	for _, name := range []string{"boot-one", "boot-two", "boot-making-3", "run-4", "lock"} {
		write(t, filepath.Join(cache, name, "file"), "")
	}
	if err := removeOthers(cache, filepath.Join(cache, "boot-two")); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(cache + "/*")
	if err != nil {
		t.Fatal(err)
	}
	for i := range left {
		left[i] = filepath.Base(left[i])
	}
	if got := strings.Join(left, " "); got != "boot-two lock run-4" {
		t.Errorf("left are %s", got)
	}
}
