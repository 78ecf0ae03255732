package mount

import (
	"errors"
	"io"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// withFreeFDs runs f with n fd numbers free.
func withFreeFDs(t *testing.T, n int, f func()) {
	t.Helper()
	limit := 0
	for free := 0; ; limit++ {
		if _, err := unix.FcntlInt(uintptr(limit), unix.F_GETFD, 0); err == nil {
			continue
		}
		if free == n {
			break
		}
		free++
	}
	var old unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(limit), Max: old.Max}))
	defer func() { must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old)) }()
	f()
}

// Everything fails cleanly at each fd it can't have, the probes and the opening of the workshop included, and says that it was fds.
func TestWithoutFDs(t *testing.T) {
	// All that goes with a mounter of its own: what one leaves open till Close is no leak.
	for name, make := range map[string]func(m *Mounter) (io.Closer, error){
		"dev": func(*Mounter) (io.Closer, error) {
			return Dev(DevConfig{Devices: []Device{{Path: "a/b", Mode: unix.S_IFCHR, Rdev: unix.Mkdev(1, 3)}}})
		},
		"devpts": func(*Mounter) (io.Closer, error) { return DevPTS(nil) },
		"tmpfs":  func(*Mounter) (io.Closer, error) { return Tmpfs(TmpfsConfig{Size: 4096, Inodes: 2}) },
		"bind": func(m *Mounter) (io.Closer, error) {
			f, _, err := Bind(m.dir, BindOptions{Recursive: true, ReadOnly: true})
			return f, err
		},
		"userns":  func(m *Mounter) (io.Closer, error) { return m.UserNS(testIDs, testIDs) },
		"maskdir": func(m *Mounter) (io.Closer, error) { return m.MaskDir() },
		"mask":    func(m *Mounter) (io.Closer, error) { return m.MaskFile() },
		"overlay": func(m *Mounter) (io.Closer, error) {
			c, err := probeLayers(m.dir)
			if err != nil {
				return nil, err
			}
			return m.Overlay(c)
		},
	} {
		for _, way := range []Way{WayAuto, WayWorkshop} {
			t.Run(name+" "+strconv.Itoa(int(way)), func(t *testing.T) { failEachFD(t, way, make) })
		}
	}
}

func failEachFD(t *testing.T, way Way, make func(m *Mounter) (io.Closer, error)) {
	before := leaks()
	for n := range 100 {
		dir := t.TempDir()
		m, err := New(dir, way)
		must(t, err)
		var made io.Closer
		withFreeFDs(t, n, func() { made, err = make(m) })
		if err == nil {
			must(t, made.Close())
		} else if !errors.Is(err, unix.EMFILE) {
			t.Errorf("%d fds: %v", n, err)
		}
		must(t, m.Close())
		// A workshop's thread is still there for a moment when its goroutine has ended.
		if after := awaitLeaks(before); after != before {
			t.Fatalf("%d fds, %v: before %s, after %s", n, err, before, after)
		}
		if err == nil {
			if n == 0 {
				t.Error("nothing was short")
			}
			if left, err := filepath.Glob(filepath.Join(dir, ".mount-probe*")); err != nil || len(left) > 0 {
				t.Errorf("left by the probes: %v, %v", left, err)
			}
			return
		}
	}
	t.Error("no success with 100 fds")
}
