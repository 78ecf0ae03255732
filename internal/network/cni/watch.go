package cni

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lookEvery is how often the configuration is looked at without a sign of a change: where there is no inotify, and for what it doesn't show, such
	// as a file system mounted over the directory.
	lookEvery = 10 * time.Second
	// settleTime is how long the configuration may change before it is read: files are written in several steps.
	settleTime = 20 * time.Millisecond
	// unsettledTries and unsettledTime are how often and when a configuration that is wrong is read again before that is said: it may be being written.
	unsettledTries, unsettledTime = 3, 50 * time.Millisecond
	// aboveMask are comings and goings of names in a directory, and its own; watchMask also changes of what is in it.
	aboveMask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR
	watchMask = aboveMask | unix.IN_CLOSE_WRITE | unix.IN_MODIFY | unix.IN_ATTRIB
)

// watch reads the configuration again when it changes, until Close.
func (n *Network) watch() {
	changes := make(chan struct{}, 1)
	w, err := newWatcher()
	if err != nil {
		// Too many instances, most often (fs.inotify.max_user_instances).
		n.cfg.Log.Warn("can't watch the CNI configuration; podlet looks at it every so often", "every", lookEvery, "error", err)
	} else {
		n.work.Go(n.guard("inotify of the CNI configuration", func() { w.read(changes) }))
		defer w.close()
	}
	every := time.NewTicker(lookEvery)
	defer every.Stop()
	// What changed before the watch was there.
	n.reread(w)
	for {
		select {
		case <-changes:
			if !sleep(n.life, settleTime) {
				return
			}
			select {
			case <-changes:
			default:
			}
		case <-every.C:
		case <-n.life.Done():
			return
		}
		n.reread(w)
	}
}

// reread reads the configuration with the watch on all that it is read from: another network has its plugins in another directory.
func (n *Network) reread(w *watcher) {
	for {
		name := n.confName()
		if w != nil {
			w.aim(n.cfg.ConfDir, name)
		}
		n.reload()
		if n.confName() == name || n.life.Err() != nil {
			return
		}
	}
}

// confName is the name of the network, for the directory of its plugins.
func (n *Network) confName() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.conf == nil {
		return ""
	}
	return n.mu.conf.list.Name
}

// reload reads the configuration and says what is new.
func (n *Network) reload() {
	conf, err := readConf(n.cfg.ConfDir)
	for range unsettledTries {
		if err == nil || !sleep(n.life, unsettledTime) {
			break
		}
		conf, err = readConf(n.cfg.ConfDir)
	}
	if !n.replace(conf, err) || n.cfg.Retired {
		return
	}
	switch {
	case err != nil:
		n.cfg.Log.Error("the CNI configuration can't be used; no pod is added until it can be", "error", err)
	case conf == nil:
		n.cfg.Log.Warn("there is no CNI configuration any more; no pod is added until there is one", "dir", n.cfg.ConfDir)
	default:
		n.cfg.Log.Info("CNI configuration", "file", filepath.Join(n.cfg.ConfDir, conf.file), "network", conf.list.Name, "version", conf.list.CNIVersion)
		poke(n.ask)
		poke(n.collect)
		poke(n.owing)
	}
}

// replace makes what was read the configuration, and says whether it is another.
func (n *Network) replace(conf *conf, err error) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if same(n.mu.conf, conf) && text(n.mu.wrong) == text(err) {
		return false
	}
	n.mu.conf, n.mu.wrong = conf, err
	n.mu.ever = n.mu.ever || conf != nil || err != nil
	n.mu.status = status{told: make(chan struct{})}
	// What an owed DEL lacked may be there now.
	n.mu.rushed = n.mu.rushed || conf != nil
	return true
}

func same(a, b *conf) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.file == b.file && string(a.text) == string(b.text)
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// watcher is an inotify instance.
type watcher struct {
	file *os.File
	raw  int
	// aimed are the directories that are watched, by path: the watch's number.
	aimed map[string]int
}

func newWatcher() (*watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify_init1: %w", err)
	}
	// Non-blocking: Close ends a Read.
	return &watcher{os.NewFile(uintptr(fd), "inotify"), fd, map[string]int{}}, nil
}

func (w *watcher) close() { w.file.Close() }

// read tells of events until close. What they say doesn't matter.
func (w *watcher) read(changes chan<- struct{}) {
	buffer := make([]byte, 4<<10)
	for {
		_, err := w.file.Read(buffer)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return // the ticker goes on
		}
		select {
		case changes <- struct{}{}:
		default:
		}
	}
}

// aim watches the directory, the one of the network's plugins in it, and above it the nearest that exists, in which it would appear.
func (w *watcher) aim(dir, network string) {
	want := map[string]uint32{dir: watchMask}
	if network != "" {
		want[filepath.Join(dir, network)] = watchMask
	}
	for above := filepath.Dir(dir); ; above = filepath.Dir(above) {
		want[above] = aboveMask
		if _, err := os.Stat(above); err == nil || above == "/" {
			break
		}
	}
	for path := range w.aimed {
		if want[path] == 0 {
			unix.InotifyRmWatch(w.raw, uint32(w.aimed[path]))
			delete(w.aimed, path)
		}
	}
	for path, mask := range want {
		w.aimAt(path, mask)
	}
}

// aimAt watches what has the name now. It asks the kernel each time: a directory that was deleted took its watch along, and its inode's number may be
// that of the next one at once. Where a watch is there already, it stays. What can't be watched is looked at by the ticker.
func (w *watcher) aimAt(path string, mask uint32) {
	watch, err := unix.InotifyAddWatch(w.raw, path, mask)
	if was, there := w.aimed[path]; there && (err != nil || watch != was) {
		unix.InotifyRmWatch(w.raw, uint32(was))
	}
	if err != nil {
		delete(w.aimed, path)
		return
	}
	w.aimed[path] = watch
}
