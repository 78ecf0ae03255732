package mount

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func describe(t testing.TB, path string) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return err.Error()
	}
	perm := st.Mode & 0o7777
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFCHR:
		return fmt.Sprintf("c %o %d:%d %d:%d", perm, unix.Major(st.Rdev), unix.Minor(st.Rdev), st.Uid, st.Gid)
	case unix.S_IFBLK:
		return fmt.Sprintf("b %o %d:%d %d:%d", perm, unix.Major(st.Rdev), unix.Minor(st.Rdev), st.Uid, st.Gid)
	case unix.S_IFDIR:
		return fmt.Sprintf("d %o %d:%d", perm, st.Uid, st.Gid)
	case unix.S_IFLNK:
		target, err := os.Readlink(path)
		must(t, err)
		return fmt.Sprintf("l %s %d:%d", target, st.Uid, st.Gid)
	default:
		return fmt.Sprintf("- %o %d:%d", perm, st.Uid, st.Gid)
	}
}

func TestDev(t *testing.T) {
	// The strictest of umasks must not show.
	defer unix.Umask(unix.Umask(0o077))
	f := closed(t)(Dev(DevConfig{Console: true, Devices: []Device{
		{Path: "fuse", Mode: unix.S_IFCHR | 0o600, Rdev: unix.Mkdev(10, 229), UID: 3, GID: 4},
		{Path: "a/b/disk", Mode: unix.S_IFBLK | 0o640, Rdev: unix.Mkdev(7, 300)},
		{Path: "tty", Mode: unix.S_IFCHR | 0o620, Rdev: unix.Mkdev(5, 0)},
		{Path: "fuse", Mode: unix.S_IFCHR | 0o666, Rdev: unix.Mkdev(10, 229), UID: 5, GID: 6},
	}}))
	dev := attach(t, f)
	want := map[string]string{
		"": "d 755 0:0", "null": "c 666 1:3 0:0", "zero": "c 666 1:5 0:0", "full": "c 666 1:7 0:0",
		"random": "c 666 1:8 0:0", "urandom": "c 666 1:9 0:0", "tty": "c 620 5:0 0:0",
		"fd": "l /proc/self/fd 0:0", "stdin": "l /proc/self/fd/0 0:0", "stdout": "l /proc/self/fd/1 0:0",
		"stderr": "l /proc/self/fd/2 0:0", "ptmx": "l pts/ptmx 0:0", "core": "l /proc/kcore 0:0",
		"pts": "d 755 0:0", "shm": "d 755 0:0", "mqueue": "d 755 0:0", "console": "- 600 0:0",
		"fuse": "c 666 10:229 5:6", "a": "d 755 0:0", "a/b": "d 755 0:0", "a/b/disk": "b 640 7:300 0:0",
	}
	for name, w := range want {
		if got := describe(t, filepath.Join(dev, name)); got != w {
			t.Errorf("%q is %s, want %s", name, got, w)
		}
	}
	entries, err := os.ReadDir(dev)
	must(t, err)
	if len(entries) != len(want)-3 {
		t.Errorf("%d entries: %v", len(entries), entries)
	}
	line := options(t, dev)
	for _, word := range []string{"rw,nosuid ", "tmpfs tmpfs", "size=65536k", "mode=755", "nr_inodes=16392"} {
		if !strings.Contains(line, word) {
			t.Errorf("%q is missing in %s", word, line)
		}
	}
	if _, err := os.ReadFile(filepath.Join(dev, "null")); err != nil {
		t.Error(err)
	}
}

func TestDevErrors(t *testing.T) {
	before := leaks()
	for path, want := range map[string]string{
		"../x": "clean path", "/x": "clean path", "": "clean path", ".": "clean path", "a/": "clean path", "a//b": "clean path", "a/../b": "clean path",
		"fd/x": "not a directory", "pts": "file exists", "null/x": "not a directory", "ptmx/x": "not a directory",
	} {
		_, err := Dev(DevConfig{Devices: []Device{{Path: path, Mode: unix.S_IFCHR | 0o666, Rdev: unix.Mkdev(1, 3)}}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("device at %q: %v", path, err)
		}
	}
	if _, err := Dev(DevConfig{Devices: []Device{{Path: "x", Mode: unix.S_IFREG}}}); err == nil {
		t.Error("a regular file passed for a device")
	}
	if after := awaitLeaks(before); after != before {
		t.Errorf("before %s, after %s", before, after)
	}
}

// A pod's root in its user namespace owns /dev and can open the nodes, but make none.
func TestDevUserNS(t *testing.T) {
	m := newMounter(t, WayAuto)
	u := testUserNS(t, m)
	dev := closed(t)(Dev(DevConfig{Console: true, UserNS: u}))
	pts := closed(t)(DevPTS(u))
	file := closed(t)(m.MaskFile())
	inUserNS(t, "dev", dev, pts, file)
}

// roleDev: fd 3 is /dev, 4 /dev/pts, 5 a file mask.
func roleDev() error {
	at, err := os.MkdirTemp("/tmp", "podlet-mount-role")
	if err != nil {
		// The pod's root may not be able to write there; any directory will do, the namespace is our own.
		at = "/mnt"
	} else {
		defer os.Remove(at)
	}
	target, err := openPath(at)
	if err != nil {
		return err
	}
	if err := moveMount(3, target, ""); err != nil {
		return err
	}
	defer unix.Unmount(at, unix.MNT_DETACH)
	if err := moveMount(4, 3, "pts"); err != nil {
		return err
	}
	if err := moveMount(5, 3, "console"); err != nil {
		return err
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "console"} {
		f, err := os.OpenFile(filepath.Join(at, name), os.O_RDWR, 0)
		if err != nil {
			return fmt.Errorf("open %s in the user namespace: %w", name, err)
		}
		if _, err := f.Write([]byte("x")); err != nil && name != "full" && name != "random" && name != "urandom" {
			return fmt.Errorf("write %s: %w", name, err)
		}
		f.Close()
	}
	for _, name := range []string{".", "null", "fd", "pts", "shm"} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(at, name), &st); err != nil {
			return err
		}
		if st.Uid != 0 || st.Gid != 0 {
			return fmt.Errorf("%s belongs to %d:%d inside", name, st.Uid, st.Gid)
		}
	}
	if err := os.WriteFile(filepath.Join(at, "file"), nil, 0o644); err != nil {
		return fmt.Errorf("the pod's root writes to its /dev: %w", err)
	}
	if err := unix.Mknod(filepath.Join(at, "mem"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 1))); !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("mknod in the user namespace: %v, want EPERM", err)
	}
	pts, err := os.Open(filepath.Join(at, "pts"))
	if err != nil {
		return err
	}
	master, slave, err := OpenPTY(pts)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(slave.Fd()), &st); err != nil {
		return err
	}
	if st.Gid != 5 {
		return fmt.Errorf("the terminal's group is %d inside, want 5", st.Gid)
	}
	return errors.Join(master.Close(), slave.Close(), pts.Close())
}

func TestHostDevices(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))
	node := filepath.Join(dir, "sub/node")
	must(t, unix.Mknod(node, unix.S_IFCHR|0o600, int(unix.Mkdev(10, 229))))
	must(t, os.Chown(node, 11, 12))
	must(t, os.Chmod(node, 0o624))
	must(t, unix.Mknod(filepath.Join(dir, "disk"), unix.S_IFBLK|0o600, int(unix.Mkdev(7, 1))))
	must(t, unix.Mknod(filepath.Join(dir, "whiteout"), unix.S_IFCHR|0o600, 0))
	must(t, os.Symlink("disk", filepath.Join(dir, "link")))
	write(t, filepath.Join(dir, "file"), "")
	must(t, os.Mkdir(filepath.Join(dir, "other"), 0o755))
	must(t, unix.Mount("tmpfs", filepath.Join(dir, "other"), "tmpfs", 0, ""))
	defer unix.Unmount(filepath.Join(dir, "other"), unix.MNT_DETACH)
	must(t, unix.Mknod(filepath.Join(dir, "other/elsewhere"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))

	fuse := Device{Path: "x/fuse", Mode: unix.S_IFCHR | 0o624, Rdev: unix.Mkdev(10, 229), UID: 11, GID: 12}
	disk := Device{Path: "bus/disk", Mode: unix.S_IFBLK | 0o600, Rdev: unix.Mkdev(7, 1)}
	under := fuse
	under.Path = "bus/sub/node"
	for _, c := range []struct {
		host, container string
		want            []Device
		err             string
	}{
		{node, "/dev/x/fuse", []Device{fuse}, ""},
		{dir, "/dev/bus", []Device{disk, under}, ""},
		{filepath.Join(dir, "link"), "/dev/bus/disk", []Device{disk}, ""},
		{node, "/etc/x", nil, "not below /dev"},
		{node, "/dev/../x", nil, "not below /dev"},
		{node, "/devil", nil, "not below /dev"},
		{node, "/dev", nil, "neither"},
		{filepath.Join(dir, "file"), "/dev/x", nil, "neither"},
		{filepath.Join(dir, "whiteout"), "/dev/x", nil, "neither"},
		{filepath.Join(dir, "missing"), "/dev/x", nil, "no such file"},
	} {
		got, err := HostDevices(c.host, c.container)
		if fmt.Sprint(got) != fmt.Sprint(c.want) || (c.err == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s as %s: %v, %v", c.host, c.container, got, err)
		}
	}
	// A privileged container's /dev.
	all, err := HostDevices("/dev", "/dev")
	must(t, err)
	closed(t)(Dev(DevConfig{Devices: all}))
}

func TestPTY(t *testing.T) {
	pts := closed(t)(DevPTS(nil))
	master, slave, err := OpenPTY(pts)
	must(t, err)
	defer master.Close()
	defer slave.Close()
	if _, err := slave.WriteString("hello\n"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 32)
	// The kernel may pass it on in pieces.
	n, err := io.ReadAtLeast(master, buf, len("hello\r\n"))
	if err != nil || string(buf[:n]) != "hello\r\n" {
		t.Errorf("read %q, %v", buf[:n], err)
	}
	path := attach(t, pts)
	if got := describe(t, filepath.Join(path, "0")); !strings.HasPrefix(got, "c 620 136:0 0:5") {
		t.Errorf("slave is %s", got)
	}
	if got := describe(t, filepath.Join(path, "ptmx")); got != "c 666 5:2 0:0" {
		t.Errorf("ptmx is %s", got)
	}
	// Attached, the very same slave can be cloned for /dev/console.
	fd, err := cloneTree(int(slave.Fd()), "", false, "slave")
	must(t, err)
	console := attach(t, closed(t)(file(fd, "console"), nil))
	if got := describe(t, console); !strings.HasPrefix(got, "c 620 136:0") {
		t.Errorf("console is %s", got)
	}
	for _, f := range []*os.File{master, slave, pts} {
		flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
		must(t, err)
		if flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("%s is not close-on-exec", f.Name())
		}
	}
	if _, _, err := OpenPTY(closed(t)(os.Open(t.TempDir()))); err == nil {
		t.Error("a terminal from a directory")
	}
}
