package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// sampleTree makes files, each with its own name in it; a name with " -> " is a link.
func sampleTree(t *testing.T, names ...string) string {
	t.Helper()
	top := t.TempDir()
	for _, name := range names {
		link, target, isLink := strings.Cut(name, " -> ")
		path := filepath.Join(top, link)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		switch {
		case err != nil:
		case isLink:
			err = os.Symlink(target, path)
		default:
			err = os.WriteFile(path, []byte(name), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return top
}

// listTree lists what is no directory, in sampleTree's way.
func listTree(t *testing.T, top string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		if entry.Type() == fs.ModeSymlink {
			target, err := os.Readlink(path)
			names = append(names, name+" -> "+target)
			return err
		}
		names = append(names, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestCopyTree(t *testing.T) {
	top := sampleTree(t, "go.mod", "a/a.go", "a/testdata/x", "bin/podlet", "build/images/i", "build/vm/boot-1/root.img", ".git/HEAD", "sub/.git", "link -> a/a.go", "dangling -> /nowhere", "readonly/file")
	for path, mode := range map[string]fs.FileMode{"bin/podlet": 0o755, "readonly": 0o555} {
		if err := os.Chmod(filepath.Join(top, path), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(top, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := checkout{top: top}
	to := filepath.Join(t.TempDir(), "tree")
	if err := copyTree(to, top, c.leftOut); err != nil {
		t.Fatal(err)
	}
	want := []string{"a/a.go", "a/testdata/x", "bin/podlet", "build/images/i", "dangling -> /nowhere", "go.mod", "link -> a/a.go", "readonly/file", "sub/.git"}
	if got := listTree(t, to); !slices.Equal(got, want) {
		t.Errorf("copied are\n%q, want\n%q", got, want)
	}
	if text, err := os.ReadFile(filepath.Join(to, "a/a.go")); string(text) != "a/a.go" {
		t.Errorf("a file's copy is %q, %v", text, err)
	}
	if info, err := os.Stat(filepath.Join(to, "bin/podlet")); err != nil || info.Mode() != 0o755 {
		t.Errorf("a program's copy: %v, %v", info.Mode(), err)
	}
	size, err := sizeOf(to)
	// 7 files of a block each, 9 entries and 8 directories.
	if err != nil || size != (7+9+8)*4096 {
		t.Errorf("it takes %d blocks, %v", size/4096, err)
	}
}

func TestInGuest(t *testing.T) {
	c := checkout{top: "/work/tree"}
	for dir, ok := range map[string]bool{"/work/tree": true, "/work/tree/..a": true, "/work/tree/a/b": true, "/work/treetop": false, "/work": false, "/go/pkg/mod/x": false} {
		if got, err := c.inGuest(dir); (err == nil) != ok || ok && got != dir {
			t.Errorf("%s: %q, %v", dir, got, err)
		}
	}
}

func TestWorkdir(t *testing.T) {
	cache := t.TempDir()
	live, err := newWorkdir(cache)
	if err != nil {
		t.Fatal(err)
	}
	// A run that was killed holds no lock any more.
	dead, err := newWorkdir(cache)
	if err != nil {
		t.Fatal(err)
	}
	dead.lock.Close()
	if err := os.WriteFile(dead.path("console.log"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	last, err := newWorkdir(cache)
	if err != nil {
		t.Fatal(err)
	}
	for w, want := range map[*workdir]bool{live: true, dead: false, last: true} {
		if _, err := os.Stat(w.dir); (err == nil) != want {
			t.Errorf("%s: %v, want it there: %v", w.dir, err, want)
		}
	}
	if err := os.WriteFile(last.path("console.log"), []byte("panic"), 0o644); err != nil {
		t.Fatal(err)
	}
	said := 0
	last.keepConsole(func(string, ...any) { said++ })
	live.keepConsole(func(string, ...any) { t.Error("a console that isn't there was kept") })
	live.remove()
	last.remove()
	if got := listTree(t, cache); !slices.Equal(got, []string{"console.log"}) || said != 1 {
		t.Errorf("left are %q, told %d times", got, said)
	}
}
