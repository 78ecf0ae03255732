package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Store is the state directory.
type Store struct {
	path   string
	logger *slog.Logger
	boot   string
	// root, pods and the quarantine's directory are open until Close.
	root, pods *os.File
	quarantine quarantine
	reserve    reserve
	spares     spares

	// run marks the files that this Store writes aside, writes numbers them.
	run    string
	writes atomic.Uint64
}

// changed is called after each change on the disk; a test ends podlet there.
var changed = func() {}

// beneath keeps a lookup inside the directory: no way up, no link, no other file system.
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV

// Open opens the state directory dir, making it if it is absent (see
// [PrivateDir]). A reserve that can't be taken because the disk is full is
// logged, no error. The caller closes the store.
func Open(dir string, logger *slog.Logger) (*Store, error) {
	boot, err := BootID()
	if err != nil {
		return nil, err
	}
	s := &Store{path: dir, logger: logger, boot: boot, run: strconv.Itoa(os.Getpid()) + "-" + strconv.FormatInt(monotonic(), 36)}
	if err := s.open(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Store) open() (err error) {
	if s.root, err = PrivateDir(s.path, s.logger); err != nil {
		return err
	}
	if s.pods, err = privateDirAt(s.root, "pods", s.path+"/pods", s.logger); err != nil {
		return err
	}
	Spread(s.pods, s.logger)
	if s.quarantine.dir, err = privateDirAt(s.root, "quarantine", s.path+"/quarantine", s.logger); err != nil {
		return err
	}
	if s.reserve.dir, err = privateDirAt(s.root, "reserve", s.path+"/reserve", s.logger); err != nil {
		return err
	}
	if err := s.reserve.fill(); err != nil {
		s.logger.Warn("no reserve for a full disk", "path", s.path, "error", err)
	}
	return nil
}

// Close closes the directories. No call may be under way.
func (s *Store) Close() error {
	var errs []error
	for _, f := range []*os.File{s.root, s.pods, s.quarantine.dir, s.reserve.dir} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// Boot is the id of the present boot, which every record of this Store's gets.
func (s *Store) Boot() string { return s.boot }

// Put replaces the record name of the pod by v as JSON. The record [Pod] makes
// the pod's directory; any other needs it (fs.ErrNotExist). On a full disk it
// uses up the reserve, piece by piece; after that it fails with ENOSPC, and the
// old record stands. ErrInvalidName for a name or id of the wrong form.
//
// It costs five system calls, and no new file but at an object's first two Puts (see spare.go).
func (s *Store) Put(podID, name string, v any) error {
	if err := checkNames(podID, name); err != nil {
		return err
	}
	payload, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("record %s of pod %s: %w", name, podID, err)
	}
	if len(payload) > MaxPayload {
		return fmt.Errorf("record %s of pod %s: %d bytes of JSON, at most %d are kept", name, podID, len(payload), MaxPayload)
	}
	file := encode(podID, name, s.boot, payload)
	for {
		err := s.replace(podID, name, file)
		if err == nil {
			changed()
			s.reserve.refillAtTimes(s.logger)
			return nil
		}
		if !noSpace(err) || !s.reserve.release(s.logger) {
			return fmt.Errorf("write record %s of pod %s below %s%s: %w", name, podID, s.path, spaceRemedy(err), err)
		}
	}
}

// replace writes the file aside, in the same directory, and exchanges it with the one that stands, which is the next one's spare.
func (s *Store) replace(podID, name string, file []byte) (failed error) {
	to := podID + "/" + name
	aside, fd, err := s.openAside(podID, name)
	if errors.Is(err, unix.ENOENT) && name == Pod {
		if err := s.makePodDir(podID); err != nil {
			return err
		}
		// After a failure the pod has no directory again; with a record in it, it stays.
		defer func() {
			if failed != nil {
				unix.Unlinkat(int(s.pods.Fd()), podID, unix.AT_REMOVEDIR)
			}
		}()
		aside, fd, err = s.openAside(podID, name)
	}
	if err != nil {
		return &os.PathError{Op: "create", Path: aside, Err: err}
	}
	if err := writeAndClose(fd, file); err != nil {
		s.unlink(aside)
		return &os.PathError{Op: "write", Path: aside, Err: err}
	}
	pods := int(s.pods.Fd())
	err = unix.Renameat2(pods, aside, pods, to, unix.RENAME_EXCHANGE)
	if err == nil {
		if surplus := s.spares.put(podID, name, aside); surplus != "" {
			s.unlink(surplus)
		}
		return nil
	}
	// ENOENT: the first record. Others: a file system that can't exchange.
	if err := unix.Renameat(pods, aside, pods, to); err != nil {
		s.unlink(aside)
		return &os.LinkError{Op: "rename", Old: aside, New: to, Err: err}
	}
	return nil
}

// openAside opens the object's spare, or a new file.
func (s *Store) openAside(podID, name string) (path string, fd int, err error) {
	if path := s.spares.take(podID, name); path != "" {
		fd, err := s.openSpare(path)
		if err == nil {
			return path, fd, nil
		}
		s.remove(path)
	}
	path = podID + "/" + asidePrefix(name) + s.run + "-" + strconv.FormatUint(s.writes.Add(1), 36)
	fd, err = s.create(path)
	return path, fd, err
}

func (s *Store) create(path string) (int, error) {
	return retry(func() (int, error) {
		return unix.Openat2(int(s.pods.Fd()), path, &unix.OpenHow{
			Flags:   unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC,
			Mode:    0o600,
			Resolve: beneath,
		})
	})
}

// makePodDir: a umask can only make the mode narrower, and Load puts that right.
func (s *Store) makePodDir(podID string) error {
	if err := unix.Mkdirat(int(s.pods.Fd()), podID, privateMode); err != nil && !errors.Is(err, unix.EEXIST) {
		return &os.PathError{Op: "mkdir", Path: podID, Err: err}
	}
	return nil
}

func (s *Store) unlink(path string) error { return unix.Unlinkat(int(s.pods.Fd()), path, 0) }

// writeAndClose takes fd over. close(2) may be what tells of a full disk (NFS, quotas).
func writeAndClose(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := retry(func() (int, error) { return unix.Write(fd, b) })
		if err != nil {
			unix.Close(fd)
			return err
		}
		b = b[n:]
	}
	if err := unix.Close(fd); err != nil && err != unix.EINTR {
		return err
	}
	return nil
}

// Delete removes one record. One that is not there is no error.
func (s *Store) Delete(podID, name string) error {
	if err := checkNames(podID, name); err != nil {
		return err
	}
	// The record goes first: a spare alone stands for nothing.
	defer func() {
		if spare := s.spares.take(podID, name); spare != "" {
			s.unlink(spare)
		}
	}()
	if err := s.remove(podID + "/" + name); err != nil {
		return fmt.Errorf("delete record %s of pod %s below %s: %w", name, podID, s.path, err)
	}
	changed()
	return nil
}

// remove removes what is at path, if anything: even a directory, which doesn't belong there.
func (s *Store) remove(path string) error {
	err := s.unlink(path)
	if errors.Is(err, unix.EISDIR) {
		err = removeTree(s.pods, path)
	}
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	return err
}

// DeletePod removes the pod's records and its directory, the record [Pod] last:
// cut short, it leaves a pod that can be deleted again. One that is not there is
// no error.
func (s *Store) DeletePod(podID string) error {
	if err := checkNames(podID, Pod); err != nil {
		return err
	}
	s.spares.forget(podID)
	// A Put under way may bring a file in after the list was read. What is in a list is gone or an error after the round, so only new Puts keep this going.
	for {
		names, err := s.list(podID)
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			err = s.remove(podID)
			if err == nil {
				return nil
			}
		}
		if err != nil {
			return fmt.Errorf("list the records of pod %s below %s: %w", podID, s.path, err)
		}
		for _, name := range podLast(names) {
			if err := s.remove(podID + "/" + name); err != nil {
				return fmt.Errorf("delete %s of pod %s below %s: %w", name, podID, s.path, err)
			}
			changed()
		}
		err = unix.Unlinkat(int(s.pods.Fd()), podID, unix.AT_REMOVEDIR)
		if errors.Is(err, unix.ENOTEMPTY) {
			continue
		}
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove the directory of pod %s below %s: %w", podID, s.path, err)
		}
		s.reserve.refillAtTimes(s.logger)
		return nil
	}
}

// list gives the names in a pod's directory.
func (s *Store) list(podID string) ([]string, error) {
	dir, err := s.openPodDir(podID)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.Readdirnames(-1)
}

func (s *Store) openPodDir(podID string) (*os.File, error) {
	fd, err := retry(func() (int, error) {
		return unix.Openat2(int(s.pods.Fd()), podID, &unix.OpenHow{
			Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
			Resolve: beneath,
		})
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), s.path+"/pods/"+podID), nil
}

func podLast(names []string) []string {
	for i, name := range names {
		if name == Pod {
			last := len(names) - 1
			names[i], names[last] = names[last], names[i]
		}
	}
	return names
}

func monotonic() int64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}
