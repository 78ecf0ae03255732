package mount

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func itoa(n int) string { return strconv.Itoa(n) }

func TestErrorNamesTheCall(t *testing.T) {
	_, err := newFS("tmpfs", 0, []param{{"size", "soup"}})
	if err == nil || !errors.Is(err, unix.EINVAL) {
		t.Fatalf("got %v", err)
	}
	for _, word := range []string{"fsconfig tmpfs size=soup", "invalid argument", "kernel: ", "size"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q is missing in %q", word, err)
		}
	}
	_, err = newFS("nosuchfs", 0, nil)
	if err == nil || err.Error() != "fsopen nosuchfs: no such device" {
		t.Errorf("got %v", err)
	}
	_, err = openPath("/no/such/path")
	if err == nil || err.Error() != "open_tree /no/such/path: no such file or directory" {
		t.Errorf("got %v", err)
	}
	err = setAttr(-1, false, unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOEXEC, Propagation: unix.MS_SLAVE}, "/x")
	if err == nil || err.Error() != "mount_setattr RDONLY|NOEXEC|slave /x: bad file descriptor" {
		t.Errorf("got %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, dir := range []string{"", "relative", "/no/such/dir", "/proc/self/status"} {
		if _, err := New(dir, WayAuto); err == nil {
			t.Errorf("%q was accepted", dir)
		}
	}
}
