package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Entry is a record that was read.
type Entry struct {
	PodID string
	// Name is Pod or Container(id).
	Name string
	// Boot is the boot in which it was written; SameBoot: it is the present one. If not, no process of the object lives.
	Boot     string
	SameBoot bool
	// Payload is the JSON text that Put was given.
	Payload json.RawMessage
}

// Decode reads the payload into v. If it fails the record is of no use: see [Store.Quarantine].
func (e Entry) Decode(v any) error {
	if err := json.Unmarshal(e.Payload, v); err != nil {
		return fmt.Errorf("record %s of pod %s: %w", e.Name, e.PodID, err)
	}
	return nil
}

// Load reads all records, ordered by pod, a pod's record [Pod] before those of
// its containers. What it can't use it moves to quarantine; where the version
// before it is there, that takes its place, which is logged and counts as an
// entry only. It removes what an earlier podlet left: files written aside, pod
// directories without a record. An entry of a container whose pod is among the
// quarantined, or missing, is given as well: the caller sweeps.
//
// It is not to be called beside Put. Its error is never a record's: it is that
// of the directory itself, or a shortage (open files, memory) that says nothing
// about the record.
func (s *Store) Load() ([]Entry, []Quarantined, error) {
	dir, err := s.openPodDir(".")
	if err != nil {
		return nil, nil, fmt.Errorf("open %s/pods: %w", s.path, err)
	}
	defer dir.Close()
	ids, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, nil, fmt.Errorf("list %s/pods: %w", s.path, err)
	}
	slices.Sort(ids)
	l := loader{store: s}
	for _, id := range ids {
		if ValidID(id) {
			err = l.pod(id)
		} else {
			l.reject(id, "", "no pod's directory has such a name")
		}
		if err != nil {
			return nil, nil, fmt.Errorf("read the records in %s/pods/%s: %w", s.path, id, err)
		}
	}
	return l.entries, l.quarantined, nil
}

type loader struct {
	store       *Store
	entries     []Entry
	quarantined []Quarantined
}

func (l *loader) reject(podID, name, reason string) {
	l.quarantined = append(l.quarantined, l.store.toQuarantine(podID, name, reason))
}

// pod's error is a shortage.
func (l *loader) pod(id string) error {
	dir, err := l.store.openPodDir(id)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return l.unreadable(id, "", fmt.Errorf("open as a directory: %w", err))
	}
	defer dir.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return l.unreadable(id, "", fmt.Errorf("stat the directory: %w", err))
	}
	if int(st.Uid) != os.Geteuid() {
		l.reject(id, "", fmt.Sprintf("directory of user %d, podlet runs as user %d", st.Uid, os.Geteuid()))
		return nil
	}
	if err := makePrivate(dir, false, l.store.logger); err != nil {
		l.store.logger.Warn("pod directory can't be made private", "error", err)
	}
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return l.unreadable(id, "", fmt.Errorf("list the directory: %w", err))
	}
	slices.Sort(names)
	// "pod" comes after "container-…" in the alphabet.
	if i, found := slices.BinarySearch(names, Pod); found {
		names = slices.Insert(slices.Delete(names, i, i+1), 0, Pod)
	}
	before := len(l.entries)
	aside := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !isAside(name) })
	for _, name := range names {
		if isAside(name) {
			continue
		}
		if err := l.record(dir, id, name, aside); err != nil {
			return err
		}
	}
	for _, name := range aside {
		l.store.sweep(id, name)
	}
	if len(l.entries) == before {
		// Made, but nothing was written; or emptied, but not removed. ENOTEMPTY: a rejected file that stayed.
		unix.Unlinkat(int(l.store.pods.Fd()), id, unix.AT_REMOVEDIR)
	}
	return nil
}

// unreadable rejects the object, unless err is a shortage: that is given back.
func (l *loader) unreadable(podID, name string, err error) error {
	for _, shortage := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM} {
		if errors.Is(err, shortage) {
			return err
		}
	}
	l.reject(podID, name, err.Error())
	return nil
}

// sweep removes a file that was written aside, unless this Store did it.
func (s *Store) sweep(podID, file string) {
	_, run, _ := strings.Cut(file[1:], ".")
	if strings.HasPrefix(run, s.run+"-") {
		return
	}
	if err := s.remove(podID + "/" + file); err != nil {
		s.toQuarantine(podID, file, fmt.Sprintf("left by an earlier podlet, can't be removed: %v", err))
	}
}

// record reads one record; aside are the names of the pod's files that are none.
func (l *loader) record(dir *os.File, podID, name string, aside []string) error {
	if !validName(name) {
		l.reject(podID, name, "no record has such a name")
		return nil
	}
	boot, payload, err := readRecord(dir, podID, name, name)
	if err != nil {
		reason := err
		i := slices.IndexFunc(aside, func(file string) bool {
			if !strings.HasPrefix(file, asidePrefix(name)) {
				return false
			}
			boot, payload, err = readRecord(dir, podID, name, file)
			return err == nil
		})
		if i < 0 {
			return l.unreadable(podID, name, reason)
		}
		l.store.toQuarantine(podID, name, reason.Error())
		if err := unix.Renameat(int(dir.Fd()), aside[i], int(dir.Fd()), name); err != nil {
			return l.unreadable(podID, aside[i], fmt.Errorf("put the version before it in its place: %w", err))
		}
		l.store.logger.Warn("took the version before an unusable record", "pod", podID, "record", name)
	}
	l.entries = append(l.entries, Entry{PodID: podID, Name: name, Boot: boot, SameBoot: boot == l.store.boot, Payload: payload})
	return nil
}

// readRecord reads the object's record from file.
func readRecord(dir *os.File, podID, name, file string) (boot string, payload []byte, err error) {
	content, err := readFile(dir, file)
	if err != nil {
		return "", nil, err
	}
	return decode(podID, name, content)
}

func readFile(dir *os.File, name string) ([]byte, error) {
	fd, err := retry(func() (int, error) {
		return unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	defer unix.Close(fd)
	size, err := checkFile(fd)
	if err != nil {
		return nil, err
	}
	content := make([]byte, size)
	for got := 0; got < len(content); {
		n, err := retry(func() (int, error) { return unix.Read(fd, content[got:]) })
		if err != nil {
			return nil, fmt.Errorf("read: %w", err)
		}
		if n == 0 {
			return nil, io.ErrUnexpectedEOF
		}
		got += n
	}
	return content, nil
}
