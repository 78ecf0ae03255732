package logfile

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCheck(t *testing.T) {
	const dir = "/var/log/pods/default_web_0"
	for _, good := range []struct{ dir, path string }{
		{dir, "0.log"}, {dir, "nginx/0.log"}, {dir + "/", "a/b/c/0.log"}, {"/", "x"}, {dir, "./a//b"}, {dir, "a/../b"}, {dir, "..."}, {dir, "..log"}, {dir, "naïve log"},
	} {
		if err := Check(good.dir, good.path); err != nil {
			t.Errorf("Check(%q, %q): %v", good.dir, good.path, err)
		}
	}
	for _, bad := range []struct{ dir, path, want string }{
		{dir, "../x", "out of the log directory"},
		{dir, "../../x", "out of the log directory"},
		{dir, "a/../../x", "out of the log directory"},
		{dir, "..", "out of the log directory"},
		{dir, "/x", "absolute"},
		{dir, "/", "names no file"},
		{dir, "", "names no file"},
		{dir, ".", "names no file"},
		{dir, "a/..", "names no file"},
		{dir, "a/", "names no file"},
		{dir, "a\nb", "control character"},
		{dir, "a\x00b", "control character"},
		{dir, "a\x7f", "control character"},
		{"/var\x1b[2J", "a", "control character"},
		{dir, strings.Repeat("x", 256), "255"},
		{dir, strings.Repeat("x/", 2048) + "x", "4095"},
		{"", "x", "not absolute"},
		{"var/log", "x", "not absolute"},
		{"/var/log/../../etc", "x", `".."`},
	} {
		err := Check(bad.dir, bad.path)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("Check(%.50q, %.50q): %v, want ErrInvalid with %q", bad.dir, bad.path, err, bad.want)
		}
	}
}

// write appends text by the file that Open gave, as pause does.
func write(t *testing.T, f *os.File, err error, text string) {
	t.Helper()
	must(t, err)
	defer f.Close()
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	must(t, err)
	if flags&(unix.O_ACCMODE|unix.O_NONBLOCK) != unix.O_WRONLY {
		t.Errorf("open flags %#x", flags)
	}
	if fdFlags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0); err != nil || fdFlags&unix.FD_CLOEXEC == 0 {
		t.Errorf("fd flags %#x, %v", fdFlags, err)
	}
	_, err = unix.Write(int(f.Fd()), []byte(text))
	must(t, err)
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return string(b)
}

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	must(t, err)
	return info.Mode()
}

func TestOpen(t *testing.T) {
	old := unix.Umask(0o022)
	defer unix.Umask(old)
	dir := filepath.Join(t.TempDir(), "pods/default_web_0")
	f, err := Open(dir, "nginx/0.log")
	write(t, f, err, "one\n")
	path := dir + "/nginx/0.log"
	if got := mode(t, path); got != 0o640 {
		t.Errorf("mode of the log %v", got)
	}
	for _, d := range []string{dir, dir + "/nginx"} {
		if got := mode(t, d); got != fs.ModeDir|0o755 {
			t.Errorf("mode of %s: %v", d, got)
		}
	}
	f, err = Open(dir, "nginx/0.log")
	write(t, f, err, "two\n")
	if got := content(t, path); got != "one\ntwo\n" {
		t.Errorf("content %q: not opened at its end", got)
	}
	must(t, os.Rename(path, path+".1"))
	again, err := Reopen(dir, "nginx/0.log")
	must(t, err)
	defer again.Close()
	_, err = again.WriteString("three\n")
	must(t, err)
	if got := content(t, path); got != "three\n" {
		t.Errorf("content after the rotation %q", got)
	}
}

func TestLogDirectoryMayBeALink(t *testing.T) {
	real, top := t.TempDir(), t.TempDir()
	must(t, os.Symlink(real, top+"/log"))
	f, err := Open(top+"/log/pod", "0.log")
	write(t, f, err, "x")
	if got := content(t, real+"/pod/0.log"); got != "x" {
		t.Errorf("content %q", got)
	}
}

// TestCVE_E8: nothing outside the log directory is written, made or waited for.
func TestCVE_E8(t *testing.T) {
	for _, test := range []struct {
		name, path string
		// before prepares dir; canary is a file outside.
		before func(t *testing.T, dir, canary string)
	}{
		{"up", "../../x", nil},
		{"absolute", "/x", nil},
		{"up inside", "a/../../x", nil},
		{"link to a file", "0.log", func(t *testing.T, dir, canary string) { must(t, os.Symlink(canary, dir+"/0.log")) }},
		{"dangling link", "0.log", func(t *testing.T, dir, canary string) { must(t, os.Symlink(canary+".new", dir+"/0.log")) }},
		{"link to a directory", "c/0.log", func(t *testing.T, dir, canary string) { must(t, os.Symlink(filepath.Dir(canary), dir+"/c")) }},
		{"link within", "c/0.log", func(t *testing.T, dir, canary string) {
			must(t, os.Mkdir(dir+"/real", 0o755))
			must(t, os.Symlink("real", dir+"/c"))
		}},
		{"magic link", "c/0.log", func(t *testing.T, dir, canary string) { must(t, os.Symlink("/proc/self/root", dir+"/c")) }},
		{"hard link", "0.log", func(t *testing.T, dir, canary string) { must(t, os.Link(canary, dir+"/0.log")) }},
		{"fifo", "0.log", func(t *testing.T, dir, canary string) { must(t, unix.Mkfifo(dir+"/0.log", 0o600)) }},
		{"socket", "0.log", func(t *testing.T, dir, canary string) { must(t, unix.Mknod(dir+"/0.log", unix.S_IFSOCK|0o600, 0)) }},
		{"device", "0.log", func(t *testing.T, dir, canary string) {
			must(t, unix.Mknod(dir+"/0.log", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
		}},
		{"absent device", "0.log", func(t *testing.T, dir, canary string) {
			must(t, unix.Mknod(dir+"/0.log", unix.S_IFCHR|0o600, int(unix.Mkdev(254, 77))))
		}},
		{"directory", "0.log", func(t *testing.T, dir, canary string) { must(t, os.Mkdir(dir+"/0.log", 0o755)) }},
		{"file as a directory", "c/0.log", func(t *testing.T, dir, canary string) { must(t, os.WriteFile(dir+"/c", nil, 0o600)) }},
	} {
		for verb, makeDirs := range map[string]bool{"Open": true, "Reopen": false} {
			t.Run(verb+" "+test.name, func(t *testing.T) {
				top := t.TempDir()
				dir, canary := top+"/log/pod", top+"/outside/canary"
				must(t, os.MkdirAll(dir, 0o755))
				must(t, os.Mkdir(top+"/outside", 0o755))
				must(t, os.WriteFile(canary, []byte("alive"), 0o644))
				if test.before != nil {
					test.before(t, dir, canary)
				}
				before := tree(t, top)
				f, err := open(dir, test.path, makeDirs)
				if err == nil {
					f.Close()
				}
				if !errors.Is(err, ErrInvalid) {
					t.Errorf("error %v, want ErrInvalid", err)
				}
				if got := content(t, canary); got != "alive" {
					t.Errorf("the canary says %q", got)
				}
				if after := tree(t, top); !slices.Equal(before, after) {
					t.Errorf("before %q, after %q", before, after)
				}
			})
		}
	}
}

func TestFifoWithAReader(t *testing.T) {
	dir := t.TempDir()
	must(t, unix.Mkfifo(dir+"/0.log", 0o600))
	reader, err := unix.Open(dir+"/0.log", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(reader)
	if _, err := Open(dir, "0.log"); !errors.Is(err, ErrInvalid) {
		t.Errorf("Open of a fifo that is read: %v", err)
	}
}

// tree lists what is below top, with its mode.
func tree(t *testing.T, top string) []string {
	t.Helper()
	var list []string
	must(t, filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		must(t, err)
		list = append(list, path+" "+mode(t, path).String())
		return nil
	}))
	return list
}

func TestOpenAtOnce(t *testing.T) {
	dir := t.TempDir() + "/pod"
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			f, err := OpenContext(context.Background(), dir, "a/b/0.log")
			if err != nil {
				t.Error(err)
				return
			}
			f.Close()
		})
	}
	all.Wait()
}
