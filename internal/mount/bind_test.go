package mount

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// tree mounts a tmpfs with a second one below it at sub, and sets the propagation of both.
func tree(t *testing.T, propagation uintptr) string {
	t.Helper()
	root := t.TempDir()
	sub := filepath.Join(root, "sub")
	must(t, unix.Mount("tmpfs", root, "tmpfs", 0, "size=64k"))
	t.Cleanup(func() { unix.Unmount(root, unix.MNT_DETACH) })
	must(t, os.Mkdir(sub, 0o755))
	must(t, unix.Mount("tmpfs", sub, "tmpfs", 0, "size=64k"))
	must(t, unix.Mount("", root, "", unix.MS_REC|propagation, ""))
	return root
}

func bind(t *testing.T, source string, o BindOptions) string {
	t.Helper()
	f, isDir, err := Bind(source, o)
	if !isDir {
		t.Errorf("%s is no directory", source)
	}
	return attach(t, closed(t)(f, err))
}

func writable(path string) bool {
	return os.WriteFile(filepath.Join(path, "x"), nil, 0o644) == nil
}

func TestBindReadOnly(t *testing.T) {
	source := tree(t, unix.MS_PRIVATE)
	for _, c := range []struct {
		o        BindOptions
		top, sub bool
	}{
		{BindOptions{Recursive: true}, true, true},
		{BindOptions{Recursive: true, ReadOnly: true}, false, true},
		{BindOptions{Recursive: true, ReadOnly: true, RecursiveReadOnly: true}, false, false},
		{BindOptions{ReadOnly: true}, false, false},
		{BindOptions{}, true, true},
	} {
		path := bind(t, source, c.o)
		if writable(path) != c.top || writable(filepath.Join(path, "sub")) != c.sub {
			t.Errorf("%+v: top writable %v, sub %v; want %v, %v", c.o, !c.top, !c.sub, c.top, c.sub)
		}
	}
	if !writable(source) {
		t.Error("the source became read-only")
	}
	for _, p := range []Propagation{HostToContainer, Bidirectional} {
		if _, _, err := Bind(source, BindOptions{Recursive: true, ReadOnly: true, RecursiveReadOnly: true, Propagation: p}); err == nil {
			t.Errorf("recursive read-only with %v was accepted", p)
		}
	}
}

func TestBindFlags(t *testing.T) {
	path := bind(t, tree(t, unix.MS_PRIVATE), BindOptions{Recursive: true, NoSuid: true, NoDev: true, NoExec: true})
	if line := options(t, path); !strings.Contains(line, "rw,nosuid,nodev,noexec") {
		t.Error(line)
	}
	if line := options(t, path+"/sub"); strings.Contains(line, "nosuid") {
		t.Error(line)
	}
}

func TestBindPropagation(t *testing.T) {
	// arrives: does a mount made at from/new show at to/new?
	arrives := func(t *testing.T, from, to string) bool {
		t.Helper()
		at := filepath.Join(from, "new")
		must(t, os.MkdirAll(at, 0o755))
		must(t, unix.Mount("tmpfs", at, "tmpfs", 0, "size=64k"))
		defer unix.Unmount(at, unix.MNT_DETACH)
		return options(t, filepath.Join(to, "new")) != ""
	}
	for _, c := range []struct {
		p             Propagation
		source        uintptr
		toPod, toHost bool
	}{
		{Private, unix.MS_SHARED, false, false},
		{Private, unix.MS_PRIVATE, false, false},
		{HostToContainer, unix.MS_SHARED, true, false},
		{Bidirectional, unix.MS_SHARED, true, true},
	} {
		source := tree(t, c.source)
		path := bind(t, source, BindOptions{Recursive: true, Propagation: c.p})
		for _, sub := range []string{"", "sub"} {
			from, to := filepath.Join(source, sub), filepath.Join(path, sub)
			if got := arrives(t, from, to); got != c.toPod {
				t.Errorf("%v of %q: a host mount arrives: %v", c.p, sub, got)
			}
			if got := arrives(t, to, from); got != c.toHost {
				t.Errorf("%v of %q: a container's mount arrives: %v", c.p, sub, got)
			}
		}
	}
}

func TestBindPropagationRefused(t *testing.T) {
	source := tree(t, unix.MS_PRIVATE)
	inside := filepath.Join(source, "sub", "dir")
	must(t, os.Mkdir(inside, 0o755))
	for _, p := range []Propagation{HostToContainer, Bidirectional} {
		_, _, err := Bind(inside, BindOptions{Recursive: true, Propagation: p})
		var pe *PropagationError
		if !errors.As(err, &pe) || pe.MountPoint != filepath.Join(source, "sub") || pe.Want != p {
			t.Errorf("%v: got %v", p, err)
		}
	}
	// A slave receives, and has nothing to send.
	shared := tree(t, unix.MS_SHARED)
	slave := bind(t, shared, BindOptions{Recursive: true, Propagation: HostToContainer})
	f, _, err := Bind(slave, BindOptions{Propagation: HostToContainer})
	closed(t)(f, err)
	var pe *PropagationError
	if _, _, err := Bind(slave, BindOptions{Propagation: Bidirectional}); !errors.As(err, &pe) {
		t.Errorf("rshared of a slave: %v", err)
	}
}

// Both ways to read a mount's propagation agree.
func TestMountOf(t *testing.T) {
	for _, propagation := range []uintptr{unix.MS_PRIVATE, unix.MS_SHARED} {
		path := filepath.Join(tree(t, propagation), "with space\tand\\tab")
		must(t, os.Mkdir(path, 0o755))
		must(t, unix.Mount("tmpfs", path, "tmpfs", 0, "size=64k"))
		fd, err := openDir(path)
		must(t, err)
		defer unix.Close(fd)
		info, err := mountOf(fd)
		must(t, err)
		want := mountInfo{point: path, shared: propagation == unix.MS_SHARED}
		if info != want {
			t.Errorf("mountOf: %+v, want %+v", info, want)
		}
		var st unix.Statx_t
		must(t, unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st))
		if info, err := searchMountinfo(st.Mnt_id); err != nil || info != want {
			t.Errorf("searchMountinfo: %+v, %v, want %+v", info, err, want)
		}
	}
}

func TestBindSource(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := Bind(filepath.Join(dir, "missing"), BindOptions{}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "missing") {
		t.Errorf("missing source: %v", err)
	}
	write(t, filepath.Join(dir, "file"), "content")
	must(t, os.Symlink("file", filepath.Join(dir, "link")))
	f, isDir, err := Bind(filepath.Join(dir, "link"), BindOptions{Recursive: true})
	if isDir {
		t.Error("a file reported as directory")
	}
	if got := read(t, attach(t, closed(t)(f, err))); got != "content" {
		t.Errorf("read %q", got)
	}
	must(t, unix.Mount(dir, dir, "", unix.MS_BIND, ""))
	defer unix.Unmount(dir, unix.MNT_DETACH)
	must(t, unix.Mount("", dir, "", unix.MS_UNBINDABLE, ""))
	if _, _, err := Bind(dir, BindOptions{}); err == nil || !strings.Contains(err.Error(), "unbindable") {
		t.Errorf("unbindable source: %v", err)
	}
}

func TestBindUserNS(t *testing.T) {
	m := newMounter(t, WayAuto)
	need(t, m, idmappedDir)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), "")
	must(t, os.Lchown(filepath.Join(dir, "file"), 7, 8))
	path := bind(t, dir, BindOptions{Recursive: true, UserNS: testUserNS(t, m)})
	if got := owner(t, filepath.Join(path, "file")); got != "100007:100008" {
		t.Errorf("owner %s", got)
	}
	_, _, err := Bind("/proc", BindOptions{UserNS: testUserNS(t, m)})
	var fe *FeatureError
	if !errors.As(err, &fe) || fe.FS != "proc" {
		t.Errorf("idmapped proc: %v", err)
	}
}

func TestCgroupBind(t *testing.T) {
	source := tree(t, unix.MS_SHARED)
	fd, err := openDir(source)
	must(t, err)
	dir := closed(t)(file(fd, source), nil)
	path := attach(t, closed(t)(CgroupBind(dir, true)))
	if line := options(t, path); !strings.Contains(line, "ro,nosuid,nodev,noexec") || strings.Contains(line, "shared:") {
		t.Error(line)
	}
}
