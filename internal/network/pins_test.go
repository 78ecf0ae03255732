package network

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

var (
	idA = strings.Repeat("a", 64)
	idB = strings.Repeat("b", 64)
)

func openPins(t testing.TB) *Pins {
	t.Helper()
	p, err := OpenPins(filepath.Join(t.TempDir(), "run/netns"))
	must(t, err)
	t.Cleanup(func() { p.Close() })
	return p
}

func inode(t testing.TB, f *os.File) uint64 {
	t.Helper()
	n, err := namespaceInode(f)
	must(t, err)
	return n
}

func pinned(t testing.TB, p *Pins, id string) uint64 {
	t.Helper()
	f, err := p.Open(id)
	must(t, err)
	defer f.Close()
	return inode(t, f)
}

// list gives the names in the directory, in order.
func list(t testing.TB, p *Pins) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(p.path)
	must(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestPin(t *testing.T) {
	p, a, b := openPins(t), newNetNS(t, nil), newNetNS(t, nil)
	before := mountLines(t)
	must(t, p.Pin(idA, a))
	if got := mountLines(t) - before; got != 1 {
		t.Errorf("a pin added %d lines to the mount table", got)
	}
	must(t, p.Pin(idB, b))
	if pinned(t, p, idA) != inode(t, a) || pinned(t, p, idB) != inode(t, b) {
		t.Error("another namespace is pinned")
	}
	// The name is one that setns(2) by path finds, as CNI plugins use it.
	if f, err := os.Open(p.Path(idA)); err != nil {
		t.Error(err)
	} else {
		f.Close()
	}
	if got := list(t, p); !slices.Equal(got, []string{idA, idB}) {
		t.Errorf("pinned: %q", got)
	}
	must(t, p.Pin(idA, a))
	if err := p.Pin(idA, b); !errors.Is(err, fs.ErrExist) {
		t.Errorf("pin another namespace under the same name: %v", err)
	}
	if got := mountLines(t) - before; got != 2 {
		t.Errorf("two pins, %d lines of the mount table", got)
	}
	must(t, p.Unpin(idA))
	must(t, p.Unpin(idA))
	if _, err := p.Open(idA); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open after Unpin: %v", err)
	}
	must(t, p.Unpin(idB))
	if got := list(t, p); len(got) > 0 || mountLines(t) != before {
		t.Errorf("left: %q, %d lines of the mount table", got, mountLines(t)-before)
	}
}

func TestPinRefusals(t *testing.T) {
	p, ns := openPins(t), newNetNS(t, nil)
	for _, id := range []string{"", ".", "..", "/", "a", idA[1:], idA + "a", "../" + idA[3:], strings.ToUpper(idA), idA[:63] + "/", idA[:63] + "\x00", strings.Repeat("a", 1<<20)} {
		for verb, err := range map[string]error{
			"Pin":   p.Pin(id, ns),
			"Unpin": p.Unpin(id),
			"Open":  func() error { _, err := p.Open(id); return err }(),
		} {
			if !errors.Is(err, errInvalidID) {
				t.Errorf("%s %.80q: %v", verb, id, err)
			}
		}
	}
	uts, err := os.Open("/proc/self/ns/uts")
	must(t, err)
	defer uts.Close()
	if err := p.Pin(idA, uts); err == nil || !strings.Contains(err.Error(), "no network namespace") {
		t.Errorf("pin a UTS namespace: %v", err)
	}
	null, err := os.Open("/dev/null")
	must(t, err)
	defer null.Close()
	if err := p.Pin(idA, null); err == nil || !strings.Contains(err.Error(), "no namespace") {
		t.Errorf("pin /dev/null: %v", err)
	}
	if got := list(t, p); len(got) > 0 {
		t.Errorf("left: %q", got)
	}
}

// TestPinFailsCleanly: where the name is taken by what no namespace can be mounted on, nothing changes.
func TestPinFailsCleanly(t *testing.T) {
	p, ns := openPins(t), newNetNS(t, nil)
	elsewhere := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(elsewhere, nil, 0o600))
	must(t, os.Symlink(elsewhere, p.Path(idA)))
	before := mountLines(t)
	if err := p.Pin(idA, ns); err == nil {
		t.Error("pinned through a link")
	}
	if _, err := p.Open(idA); err == nil {
		t.Error("opened through a link")
	}
	if got := mountLines(t); got != before {
		t.Errorf("%d mounts more", got-before)
	}
	// Unpin takes the link away, not what it points to.
	must(t, p.Unpin(idA))
	if _, err := os.Stat(elsewhere); err != nil {
		t.Error(err)
	}
}

func TestUnpinFollowsNoLink(t *testing.T) {
	p, at := openPins(t), t.TempDir()
	must(t, unix.Mount("tmpfs", at, "tmpfs", 0, ""))
	before := mountLines(t)
	must(t, os.Symlink(at, p.Path(idA)))
	must(t, p.Unpin(idA))
	if got := mountLines(t); got != before {
		t.Error("Unpin unmounted what the link points to")
	}
	must(t, unix.Unmount(at, 0))
}

// TestCutShort: podlet died between the file and the mount.
func TestCutShort(t *testing.T) {
	p, ns := openPins(t), newNetNS(t, nil)
	for _, id := range []string{idA, idB} {
		must(t, os.WriteFile(p.Path(id), nil, 0))
	}
	if _, err := p.Open(idA); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of an empty file: %v", err)
	}
	if got := list(t, p); len(got) != 2 {
		t.Errorf("pinned: %q", got)
	}
	must(t, p.Pin(idA, ns))
	if pinned(t, p, idA) != inode(t, ns) {
		t.Error("another namespace is pinned")
	}
	must(t, p.Unpin(idA))
	must(t, p.Unpin(idB))
	if got := list(t, p); len(got) > 0 {
		t.Errorf("left: %q", got)
	}
}

func TestStackedPin(t *testing.T) {
	p, a, b := openPins(t), newNetNS(t, nil), newNetNS(t, nil)
	before := mountLines(t)
	must(t, p.Pin(idA, a))
	for range 3 {
		f, err := os.Open(p.Path(idA))
		must(t, err)
		must(t, attach(b, f))
		f.Close()
	}
	must(t, p.Unpin(idA))
	if got := list(t, p); len(got) > 0 || mountLines(t) != before {
		t.Errorf("left: %q, %d mounts", got, mountLines(t)-before)
	}
}

// TestDirectoryMountedOntoItself is what the first `ip netns add` does on a machine whose /run is not shared.
func TestDirectoryMountedOntoItself(t *testing.T) {
	p, a, b := openPins(t), newNetNS(t, nil), newNetNS(t, nil)
	before := mountLines(t)
	must(t, p.Pin(idA, a))
	must(t, unix.Mount(p.path, p.path, "", unix.MS_BIND|unix.MS_REC, ""))
	must(t, unix.Mount("", p.path, "", unix.MS_SHARED|unix.MS_REC, ""))
	defer unix.Unmount(p.path, unix.MNT_DETACH)
	must(t, p.Pin(idB, b))
	if f, err := os.Open(p.Path(idB)); err != nil {
		t.Error(err)
	} else {
		if inode(t, f) != inode(t, b) {
			t.Error("the pin is hidden below the directory's mount")
		}
		f.Close()
	}
	must(t, p.Unpin(idA))
	must(t, p.Unpin(idB))
	if got := list(t, p); len(got) > 0 {
		t.Errorf("left: %q", got)
	}
	if got := mountLines(t) - before; got != 1 {
		t.Errorf("%d mounts left besides the directory's own", got-1)
	}
}

// TestHiddenPinIsNamed: a podlet started after the directory was mounted onto itself can't reach the older mount, and says what to do.
func TestHiddenPinIsNamed(t *testing.T) {
	p, a := openPins(t), newNetNS(t, nil)
	must(t, p.Pin(idA, a))
	must(t, unix.Mount(p.path, p.path, "", unix.MS_BIND|unix.MS_REC, ""))
	later, err := OpenPins(p.path)
	must(t, err)
	if err := later.Unpin(idA); !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), "hidden") {
		t.Errorf("Unpin: %v", err)
	}
	later.Close()
	must(t, unix.Unmount(p.path, unix.MNT_DETACH))
	must(t, p.Unpin(idA))
}

// TestCopyInAnotherMountNamespace: a service with mounts of its own keeps a copy, and the pin goes all the same.
func TestCopyInAnotherMountNamespace(t *testing.T) {
	p, ns := openPins(t), newNetNS(t, nil)
	must(t, p.Pin(idA, ns))
	cat := exec.Command("cat")
	cat.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	in, err := cat.StdinPipe()
	must(t, err)
	out, err := cat.StdoutPipe()
	must(t, err)
	must(t, cat.Start())
	// Once it echoes, it is past exec and has its namespace.
	_, err = in.Write([]byte("x"))
	must(t, err)
	_, err = out.Read(make([]byte, 1))
	must(t, err)
	mounts, err := os.ReadFile("/proc/" + strconv.Itoa(cat.Process.Pid) + "/mountinfo")
	must(t, err)
	if !strings.Contains(string(mounts), idA) {
		t.Error("the other namespace has no copy: nothing is tested")
	}
	must(t, p.Unpin(idA))
	if got := list(t, p); len(got) > 0 {
		t.Errorf("left: %q", got)
	}
	in.Close()
	must(t, cat.Wait())
}

func TestConcurrentPins(t *testing.T) {
	p, ns := openPins(t), newNetNS(t, nil)
	before := mountLines(t)
	var all sync.WaitGroup
	for _, letter := range "0123456789abcdef" {
		all.Go(func() {
			id := strings.Repeat(string(letter), 64)
			for range 10 {
				if err := errors.Join(p.Pin(id, ns), p.Unpin(id)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if got := list(t, p); len(got) > 0 || mountLines(t) != before {
		t.Errorf("left: %q, %d mounts", got, mountLines(t)-before)
	}
}

func TestUnpinEndsTheNamespace(t *testing.T) {
	p := openPins(t)
	ns := newNetNS(t, nil)
	must(t, p.Pin(idA, ns))
	want := inode(t, ns)
	must(t, ns.Close())
	if pinned(t, p, idA) != want {
		t.Error("the pin does not hold the namespace")
	}
	must(t, p.Unpin(idA))
}

func BenchmarkPinUnpin(b *testing.B) {
	p, ns := openPins(b), newNetNS(b, nil)
	for b.Loop() {
		must(b, p.Pin(idA, ns))
		must(b, p.Unpin(idA))
	}
}
