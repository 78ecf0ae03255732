package pod

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// owner is who files made for a pod belong to: the node's ids of its root.
type owner struct{ uid, gid int }

// fill makes directories and files in the file system behind root, which nobody else can see yet.
func fill(root *os.File, dirs, files []string, content map[string][]byte, own owner) error {
	for _, dir := range dirs {
		if err := unix.Mkdirat(int(root.Fd()), dir, 0o755); err != nil {
			return fmt.Errorf("mkdir %s: %w", dir, err)
		}
		if err := give(root, dir, own); err != nil {
			return err
		}
	}
	for _, file := range files {
		if err := write(root, file, content[file]); err != nil {
			return err
		}
		if err := give(root, file, own); err != nil {
			return err
		}
	}
	return nil
}

func write(root *os.File, file string, content []byte) error {
	fd, err := unix.Openat(int(root.Fd()), file, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return fmt.Errorf("create %s: %w", file, err)
	}
	f := os.NewFile(uintptr(fd), file)
	defer f.Close()
	_, err = f.Write(content)
	return err
}

// give changes the owner of what podlet has made, unless that is root already.
func give(root *os.File, path string, own owner) error {
	if own == (owner{}) {
		return nil
	}
	if err := unix.Fchownat(int(root.Fd()), path, own.uid, own.gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("chown %s: %w", path, err)
	}
	return nil
}
