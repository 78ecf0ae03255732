package record

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// The reserve is a handful of files with their blocks allocated, so that a full
// disk does not keep podlet from writing down what it does: "stopping",
// "exited". Files, and not one file, since a disk can be out of inodes as well.
const (
	reserveFiles = 16
	reserveSize  = 64 << 10
	// reserveEvery is how often a used reserve is tried to be taken again, in seconds.
	reserveEvery = 30
)

type reserve struct {
	dir *os.File
	// missing is the number of files given away: the only thing a Put on a healthy disk looks at.
	missing atomic.Int32
	mu      struct {
		sync.Mutex
		tried time.Time
	}
}

// fill takes what is missing, as far as the disk has it.
func (r *reserve) fill() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fillLocked()
}

func (r *reserve) fillLocked() error {
	r.mu.tried = time.Now()
	for i := range reserveFiles {
		if err := r.take(strconv.Itoa(i)); err != nil {
			r.missing.Store(int32(reserveFiles - i))
			return fmt.Errorf("reserve %s/%d of %d bytes: %w", r.dir.Name(), i, reserveSize, err)
		}
	}
	r.missing.Store(0)
	return nil
}

// take makes one file of the reserve, unless it is there whole.
func (r *reserve) take(name string) error {
	fd, err := retry(func() (int, error) {
		return unix.Openat(int(r.dir.Fd()), name, unix.O_WRONLY|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
	})
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Blocks*512 >= reserveSize {
		return nil
	}
	err = unix.Fallocate(fd, 0, 0, reserveSize)
	if errors.Is(err, unix.EOPNOTSUPP) {
		_, err = unix.Pwrite(fd, make([]byte, reserveSize), 0)
	}
	if err != nil {
		unix.Unlinkat(int(r.dir.Fd()), name, 0)
	}
	return err
}

// release gives one file of the reserve back to the disk; false: there is none left.
func (r *reserve) release(logger *slog.Logger) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := reserveFiles - 1; i >= 0; i-- {
		if err := unix.Unlinkat(int(r.dir.Fd()), strconv.Itoa(i), 0); err == nil {
			logger.Warn("the disk of the state directory is full; using the reserve", "path", r.dir.Name(), "left", i)
			r.missing.Store(int32(reserveFiles - i))
			r.mu.tried = time.Now()
			return true
		}
	}
	return false
}

// refillAtTimes takes a used reserve again, now and then, and only from a disk that has plenty: else each Put would take what the next one needs.
func (r *reserve) refillAtTimes(logger *slog.Logger) {
	if r.missing.Load() == 0 || !r.mu.TryLock() {
		return
	}
	defer r.mu.Unlock()
	if time.Since(r.mu.tried) < reserveEvery*time.Second {
		return
	}
	r.refillLocked(logger)
}

func (r *reserve) refillLocked(logger *slog.Logger) {
	r.mu.tried = time.Now()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(r.dir.Fd()), &st); err != nil || st.Bavail*uint64(st.Bsize) < 4*reserveFiles*reserveSize {
		return
	}
	if err := r.fillLocked(); err == nil {
		logger.Info("the reserve for a full disk is whole again", "path", r.dir.Name())
	}
}

func noSpace(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

func spaceRemedy(err error) string {
	if !noSpace(err) {
		return ""
	}
	return " (the reserve is used up; make room on that disk, removing pods works meanwhile)"
}
