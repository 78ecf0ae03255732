package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// workdir is one run's directory below the cache. A lock, which ends with the process, tells that it is in use.
type workdir struct {
	dir  string
	lock *os.File
	kept int // consoles
}

const workdirPrefix = "run-"

// newWorkdir makes one, after removing those of runs that were killed.
func newWorkdir(cache string) (*workdir, error) {
	if err := removeStale(cache); err != nil {
		return nil, err
	}
	// It gets the name that others look for only once it is locked.
	made, err := os.MkdirTemp(cache, "new-"+workdirPrefix)
	if err != nil {
		return nil, err
	}
	lock, err := lockDir(made)
	if err != nil {
		os.RemoveAll(made)
		return nil, err
	}
	dir := filepath.Join(cache, strings.TrimPrefix(filepath.Base(made), "new-"))
	if err := os.Rename(made, dir); err != nil {
		os.RemoveAll(made)
		lock.Close()
		return nil, err
	}
	return &workdir{dir: dir, lock: lock}, nil
}

func (w *workdir) path(name string) string { return filepath.Join(w.dir, name) }

func (w *workdir) remove() {
	os.RemoveAll(w.dir)
	w.lock.Close()
}

// keepConsole moves the console's log of a machine that failed to where it outlives the run, and tells so. The run's first is console.log, the next console-2.log; those of former runs go.
func (w *workdir) keepConsole(say func(string, ...any)) {
	cache, name := filepath.Dir(w.dir), "console.log"
	if w.kept++; w.kept > 1 {
		name = fmt.Sprintf("console-%d.log", w.kept)
	} else {
		former, _ := filepath.Glob(filepath.Join(cache, "console-*.log"))
		for _, log := range former {
			os.Remove(log)
		}
	}
	kept := filepath.Join(cache, name)
	if err := os.Rename(w.path("console.log"), kept); err == nil {
		say("the machine's whole console is kept in %s", kept)
	}
}

func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// removeStale removes the directories whose lock nobody holds.
func removeStale(cache string) error {
	found, err := filepath.Glob(filepath.Join(cache, workdirPrefix+"*"))
	if err != nil {
		return err
	}
	for _, dir := range found {
		lock, err := lockDir(dir)
		if err != nil {
			continue // in use, or just gone
		}
		os.RemoveAll(dir)
		lock.Close()
	}
	return nil
}
