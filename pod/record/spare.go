package record

import (
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Each object that was put twice has two files: the record, and beside it the
// version before it, the spare. The next Put writes over the spare, in place,
// and exchanges the two (renameat2 with RENAME_EXCHANGE). The obvious way, a new
// file renamed over the old one, was measured at ten times that and more: it
// makes and deletes an inode each time, and ext4 begins to write the data to the
// disk there and then (auto_da_alloc). The figures, for 4 kB: on ext4 with a
// journal 57 us against 12, on one without a journal, which passes over all
// inodes deleted in the last minutes, 120 to 770 us against 10.
//
// What auto_da_alloc is for, that a power cut leaves the old record or the new
// one, the spare does as well: Load takes it where the record is damaged. It is
// never taken where the record is absent, for that is a deleted object.
//
// A record may be shorter than the one that was in its file before. What is
// behind it in the file is ignored.

// spares are the files that may be written over. One that a Put has in hand is not among them, so that no two write to one file.
type spares struct {
	mu struct {
		sync.Mutex
		// paths is by pod and name.
		paths map[string]map[string]string
	}
}

func (s *spares) take(podID, name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := s.mu.paths[podID][name]
	delete(s.mu.paths[podID], name)
	return path
}

// put makes path the object's spare and gives the one that was it already, if two Puts of one object were under way.
func (s *spares) put(podID, name, path string) (surplus string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.paths == nil {
		s.mu.paths = map[string]map[string]string{}
	}
	if s.mu.paths[podID] == nil {
		s.mu.paths[podID] = map[string]string{}
	}
	surplus = s.mu.paths[podID][name]
	s.mu.paths[podID][name] = path
	return surplus
}

func (s *spares) forget(podID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.paths, podID)
}

// asidePrefix begins the names of an object's files that are not its record.
func asidePrefix(name string) string { return "." + name + "." }

func isAside(file string) bool { return strings.HasPrefix(file, ".") }

// openSpare opens what an exchange left, which is whatever stood in the record's place.
func (s *Store) openSpare(path string) (int, error) {
	fd, err := retry(func() (int, error) {
		return unix.Openat2(int(s.pods.Fd()), path, &unix.OpenHow{
			Flags:   unix.O_WRONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC,
			Resolve: beneath,
		})
	})
	if err != nil {
		return -1, err
	}
	if _, err := checkFile(fd); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// checkFile gives the file's size. A record is a regular file of podlet's with one name. Anyone may have put another there while the directory was open to others.
func checkFile(fd int) (size int64, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, fmt.Errorf("stat: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return 0, fmt.Errorf("no regular file (mode %06o)", st.Mode)
	}
	if int(st.Uid) != os.Geteuid() || st.Nlink != 1 {
		return 0, fmt.Errorf("a file of user %d with %d names: podlet, as user %d, makes none such", st.Uid, st.Nlink, os.Geteuid())
	}
	if st.Size > maxHeader+MaxPayload {
		return 0, fmt.Errorf("%d bytes: a record has at most %d", st.Size, maxHeader+MaxPayload)
	}
	return st.Size, nil
}
