package network

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUnixListeners(t *testing.T) {
	dir := t.TempDir()
	strange := filepath.Join(dir, "a b\n\t\xff")
	gone := filepath.Join(dir, "gone")
	files := map[string]*os.File{}
	for _, path := range []string{strange, gone, "@podlet-test " + dir} {
		l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
		must(t, err)
		defer l.Close()
		f, err := l.File()
		must(t, err)
		defer f.Close()
		if path[0] == '@' {
			path = "\x00" + path[1:]
		}
		files[path] = f
	}
	must(t, os.Remove(gone))
	connected, err := net.Dial("unixpacket", strange)
	must(t, err)
	defer connected.Close()
	var at unix.Stat_t
	must(t, unix.Stat(dir, &at))
	list, err := UnixListeners()
	must(t, err)
	for path, f := range files {
		link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
		must(t, err)
		want := at.Dev
		if path[0] == 0 {
			want = 0
		}
		found := 0
		for _, l := range list {
			if l.Name != path {
				continue
			}
			found++
			if fmt.Sprintf("socket:[%d]", l.Inode) != link || l.Dev != want {
				t.Errorf("%q: %+v, want %s on %d", path, l, link, want)
			}
		}
		if found != 1 {
			t.Errorf("%q is there %d times among %d", path, found, len(list))
		}
	}
}
