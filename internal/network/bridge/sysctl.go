package bridge

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	conf4 = "/proc/sys/net/ipv4/conf"
	conf6 = "/proc/sys/net/ipv6/conf"
)

// setting is a file below a directory of sysctls and what is to stand in it.
type setting struct{ name, value string }

// quietV6 keeps a link from taking routes and addresses from what neighbours say (CVE-2020-10749 and its like), and its addresses from
// the second that duplicate address detection takes. It is written before the link is up.
func quietV6(link string) []setting {
	return []setting{
		{link + "/accept_ra", "0"}, {link + "/autoconf", "0"}, {link + "/accept_redirects", "0"}, {link + "/accept_dad", "0"},
	}
}

// noV6 keeps IPv6 from a link.
func noV6(link string) []setting { return []setting{{link + "/disable_ipv6", "1"}} }

// writeAt writes settings below the open directory dir.
func writeAt(dir *os.File, settings []setting) error {
	for _, s := range settings {
		fd, err := unix.Openat(int(dir.Fd()), s.name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			_, err = unix.Write(fd, []byte(s.value))
			unix.Close(fd)
		}
		if err != nil {
			return fmt.Errorf("write %s to %s/%s: %w", s.value, dir.Name(), s.name, err)
		}
	}
	return nil
}

// write writes settings of the node below dir. Where the kernel has no IPv6, there is nothing to keep quiet.
func write(dir string, settings []setting) error {
	for _, s := range settings {
		path := dir + "/" + s.name
		if err := os.WriteFile(path, []byte(s.value), 0); errors.Is(err, fs.ErrNotExist) && dir == conf6 && !haveV6() {
			return nil
		} else if err != nil {
			return fmt.Errorf("write %s: %w", s.value, err)
		}
	}
	return nil
}

func haveV6() bool {
	_, err := os.Stat(conf6)
	return err == nil
}

func read(path string) (string, error) {
	b, err := os.ReadFile(path)
	return strings.TrimSpace(string(b)), err
}
