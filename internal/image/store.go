package image

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"podlet/internal/mount"
)

const (
	dirLayers     = "layers"
	dirImages     = "images"
	dirTmp        = "tmp"
	dirQuarantine = "quarantine"
)

// Store is the image store of one node. Safe for concurrent use.
type Store struct {
	path    string   // absolute
	root    *os.Root // every file of the store is named below it
	lock    *os.File
	boot    string
	log     *slog.Logger
	mounter *mount.Mounter
	nonce   string // begins the names in tmp that this process makes
	// step is told what was just done to the disk. Tests end the process there.
	step func(what string)
	// syncfs is syncfs(2), which tests let fail.
	syncfs func(fd int) error

	// stop ends the goroutines; workers waits for them. sync wakes the one that makes layers durable.
	stop    context.CancelFunc
	workers sync.WaitGroup
	sync    chan struct{}
	swept   chan struct{} // closed once tmp is empty of what Open found in it

	// commit: see the package's lock order.
	commit sync.Mutex

	mu struct {
		sync.Mutex
		images map[Digest]*imageState
		layers map[Digest]*layerState
		// holds: holder -> image; see Hold.
		holds map[string]Digest
		// holdsComplete: holds tell the whole truth; see HoldsComplete.
		holdsComplete bool
		// flights are the layers being unpacked.
		flights map[Digest]*flight
		lost    []Lost
		// pinned are the images that are pinned by name, imported those of the import directory.
		pinned   *Pinned
		imported map[Digest]bool
		// unremoved are names in tmp that could not be removed.
		unremoved []string
	}
}

// Lost is an image that Open could not keep: it has to be pulled or imported again.
type Lost struct {
	ID     Digest
	Tags   []string
	Reason string
}

// Open opens the store below root, an absolute path or one relative to the working directory, usually /var/lib/podlet/images; it is made where it isn't
// there. Only one process at a time can have it open: another gets ErrLocked.
//
// What a crash or a power cut left is taken care of: incomplete things are swept, layers that may not have reached the disk are thrown away
// with their images (see Lost), records that can't be read are quarantined. None of these is an error. The caller ends the Store with Close.
func Open(root string) (*Store, error) {
	boot, err := bootID()
	if err != nil {
		return nil, fmt.Errorf("open image store: %w", err)
	}
	return open(root, boot)
}

func bootID() (string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(boot)), err
}

func open(path, boot string) (*Store, error) {
	s, err := openLocked(path)
	if err != nil {
		return nil, fmt.Errorf("open image store: %w", err)
	}
	s.boot = boot
	s.sync = make(chan struct{}, 1)
	s.swept = make(chan struct{})
	s.mu.images = map[Digest]*imageState{}
	s.mu.layers = map[Digest]*layerState{}
	s.mu.holds = map[string]Digest{}
	s.mu.flights = map[Digest]*flight{}
	s.mu.imported = map[Digest]bool{}
	if err := s.load(); err != nil {
		s.unlock()
		return nil, fmt.Errorf("open image store %s: %w", s.path, err)
	}
	return s, nil
}

// openLocked opens the directory and takes its lock.
func openLocked(path string) (*Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	dir, err := openPrivate(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	for _, name := range []string{dirLayers, dirImages, dirTmp, dirQuarantine} {
		sub, err := openPrivateIn(dir, name)
		if err != nil {
			return nil, err
		}
		sub.Close()
	}
	// By the fd that was checked, not by the path again.
	root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()))
	if err != nil {
		return nil, err
	}
	lock, err := root.OpenFile("lock", os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		root.Close()
		return nil, err
	}
	if err := lock.Chmod(0o600); err != nil {
		lock.Close()
		root.Close()
		return nil, err
	}
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("%s: %w", path, ErrLocked)
	}
	var mounter *mount.Mounter
	if err == nil {
		mounter, err = mount.New(path, mount.WayAuto)
	}
	if err != nil {
		lock.Close()
		root.Close()
		return nil, err
	}
	return &Store{
		path: path, root: root, lock: lock, mounter: mounter, nonce: rand.Text()[:8] + "-", step: func(string) {}, syncfs: unix.Syncfs, log: slog.With("store", path),
	}, nil
}

// unlock lets go of what openLocked took.
func (s *Store) unlock() error {
	err := s.mounter.Close()
	return errors.Join(err, s.root.Close(), s.lock.Close())
}

// Close ends the store's goroutines and lets go of the lock. No call may be under way or follow. Layers that aren't durable yet are made so first, which
// waits for the disk; a process that is killed instead leaves that to the next Open of the same boot.
func (s *Store) Close() error {
	s.stop()
	s.workers.Wait()
	return s.unlock()
}

// Lost gives the images that Open could not keep.
func (s *Store) Lost() []Lost {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Lost(nil), s.mu.lost...)
}

// background runs f in a goroutine that Close awaits. A panic in it is logged and ends f alone.
func (s *Store) background(ctx context.Context, what string, f func(ctx context.Context)) {
	s.workers.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				s.log.Error("panic in the image store", "task", what, "panic", p)
			}
		}()
		f(ctx)
	})
}
