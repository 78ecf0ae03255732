package image

import (
	"golang.org/x/sys/unix"
)

const (
	// plain lookups go down from the directory they begin at, by real directories only.
	plain = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV
	// inRoot lookups follow links as a process would whose root directory it is.
	inRoot = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS
)

// openat2 retries what openat2(2) asks to be retried: EAGAIN comes when some rename on the machine raced with a "..".
func openat2(dir int, path string, flags int, mode uint32, resolve uint64) (int, error) {
	how := unix.OpenHow{Flags: uint64(flags) | unix.O_CLOEXEC, Mode: uint64(mode), Resolve: resolve}
	const most = 1000
	for try := 0; ; try++ {
		fd, err := unix.Openat2(dir, path, &how)
		if err == unix.EINTR || err == unix.EAGAIN && try < most {
			continue
		}
		return fd, err
	}
}
