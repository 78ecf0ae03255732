package image

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// readUserFile reads path of the tree below root: a lookup by the kernel, to which root is the root directory, also for absolute links and
// "..", and which gives up after 40 links (openat2(2)). (Go's os.Root refuses absolute links, which images such as NixOS's have at /etc/passwd.)
//
// What is there and can't be used is no error here but a problem that Resolve reports: an image that needs no names runs without.
func readUserFile(root *os.File, path string) (userFile, error) {
	f := userFile{path: path}
	data, err := readRegular(root, path, maxUserFileBytes)
	var unusable *unusableError
	switch {
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR):
	case errors.As(err, &unusable):
		f.problem = unusable.reason
	case err != nil:
		return userFile{}, fmt.Errorf("read %s of the image: %w", path, err)
	default:
		f.data = append([]byte{}, data...)
	}
	return f, nil
}

// unusableError: the image is to blame, not the machine.
type unusableError struct{ reason string }

func (e *unusableError) Error() string { return e.reason }

// readRegular reads a regular file of at most most bytes. Nothing else is even opened: to open a device is to use it, and a fifo blocks.
func readRegular(root *os.File, path string, most int64) ([]byte, error) {
	fd, err := openat2(int(root.Fd()), path, unix.O_PATH, 0, inRoot)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENAMETOOLONG) {
		return nil, &unusableError{"more than 40 symbolic links, a loop of them, or too long a path"}
	}
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, &unusableError{fmt.Sprintf("not a regular file (mode %#o)", st.Mode)}
	}
	if st.Size > most {
		return nil, &unusableError{fmt.Sprintf("%d bytes: at most %d", st.Size, most)}
	}
	file, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > most {
		return nil, &unusableError{fmt.Sprintf("more than %d bytes", most)}
	}
	return data, nil
}
