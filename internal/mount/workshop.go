package mount

import (
	"fmt"
	"runtime"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// maxLower is overlayfs's limit of lower layers.
const maxLower = 500

// workshop is a mount namespace of one locked thread, in which mounts are made that the kernel can't make detached. Its
// root is a tmpfs of its own; nothing of the host is mounted in it, so it keeps no host file system busy.
//
//	/bench   where the bench of the present job is attached, and taken down with all that is on it in one umount
//	/blank   a tmpfs with the directories of a bench: 0 .. 499 for lower layers, w for upper and work, m for the result
//	/empty   the template of directory masks
//	/nulls   the template of file masks: nulls/null
//
// The thread's working directory is /, and every name is relative to it: the thread never looks up an absolute path.
type workshop struct {
	jobs chan job
	// closing is closed by close; ended by the thread as it dies.
	closing, ended chan struct{}
	once           sync.Once
}

type job struct {
	run  func() error
	done chan<- error
}

func openWorkshop() (*workshop, error) {
	w := &workshop{jobs: make(chan job), closing: make(chan struct{}), ended: make(chan struct{})}
	ready := make(chan error)
	go w.thread(ready)
	if err := <-ready; err != nil {
		<-w.ended
		return nil, err
	}
	return w, nil
}

// do runs f on the workshop's thread, one job at a time.
func (w *workshop) do(f func() error) error {
	done := make(chan error, 1)
	select {
	case w.jobs <- job{f, done}:
		return <-done
	case <-w.closing:
		return errClosed
	}
}

// close ends the thread, and with it the namespace, after the job it is at.
func (w *workshop) close() {
	w.once.Do(func() { close(w.closing) })
	<-w.ended
}

// thread never unlocks: Go ends a locked thread with its goroutine, and no other goroutine ever runs in this namespace.
func (w *workshop) thread(ready chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The process's first thread is what /proc/self shows, and Go can't end it. While this goroutine
		// holds it, another one gets another.
		taken := make(chan error)
		go w.thread(taken)
		err := <-taken
		runtime.UnlockOSThread()
		ready <- err
		return
	}
	defer close(w.ended)
	err := enterWorkshop()
	ready <- err
	if err != nil {
		return
	}
	for {
		select {
		case j := <-w.jobs:
			j.done <- j.run()
		case <-w.closing:
			return
		}
	}
}

// enterWorkshop gives the calling thread its own namespace, with everything of the host gone from it.
func enterWorkshop() error {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return &Error{Call: "unshare", Key: "CLONE_NEWNS|CLONE_FS", Err: err}
	}
	// Nothing that happens here may reach the host.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return &Error{Call: "mount", Key: "MS_REC|MS_PRIVATE", Path: "/", Err: err}
	}
	root, err := newFS("tmpfs", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC, []param{{"mode", "700"}, {"size", "65536"}})
	if err != nil {
		return err
	}
	defer unix.Close(root)
	slash, err := openDir("/")
	if err != nil {
		return err
	}
	defer unix.Close(slash)
	if err := moveMount(root, slash, ""); err != nil {
		return err
	}
	if err := unix.Fchdir(root); err != nil {
		return &Error{Call: "fchdir", FS: "tmpfs", Err: err}
	}
	// pivot_root(2), "pivot_root(".", ".")": the old root ends up on top of the new one, from where it is taken down.
	if err := unix.PivotRoot(".", "."); err != nil {
		return &Error{Call: "pivot_root", Path: ".", Err: explain(err, "is the host's root an initramfs? it can't be pivoted away from")}
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return &Error{Call: "umount2", Key: "MNT_DETACH", Path: "the host's root", Err: err}
	}
	if err := unix.Chdir("/"); err != nil {
		return &Error{Call: "chdir", Path: "/", Err: err}
	}
	return furnishWorkshop()
}

func furnishWorkshop() error {
	if err := unix.Mkdir("bench", 0o700); err != nil {
		return &Error{Call: "mkdir", Path: "bench", Err: err}
	}
	for _, t := range []struct {
		name string
		make func() (int, error)
	}{{"blank", blankBench}, {"empty", newEmptyFS}, {"nulls", newNullFS}} {
		fd, err := t.make()
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Mkdir(t.name, 0o700); err != nil {
			return &Error{Call: "mkdir", Path: t.name, Err: err}
		}
		if err := moveMount(fd, unix.AT_FDCWD, t.name); err != nil {
			return err
		}
	}
	return nil
}

func blankBench() (int, error) {
	fd, err := newFS("tmpfs", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC, []param{{"mode", "700"}, {"size", "65536"}})
	if err != nil {
		return -1, err
	}
	names := []string{"w", "m"}
	for i := range maxLower {
		names = append(names, strconv.Itoa(i))
	}
	for _, name := range names {
		if err := unix.Mkdirat(fd, name, 0o700); err != nil {
			unix.Close(fd)
			return -1, &Error{Call: "mkdirat", Path: name, Err: err}
		}
	}
	return fd, nil
}

// atBench runs f with the working directory on a fresh bench, and takes the bench down afterwards with everything mounted on it. It runs
// on the workshop's thread.
func atBench(f func() error) (err error) {
	bench, err := cloneTree(unix.AT_FDCWD, "blank", false, "blank")
	if err != nil {
		return err
	}
	defer unix.Close(bench)
	if err := moveMount(bench, unix.AT_FDCWD, "bench"); err != nil {
		return err
	}
	defer func() {
		if cd := unix.Chdir("/"); cd != nil && err == nil {
			err = &Error{Call: "chdir", Path: "/", Err: cd}
		}
		// One umount for the whole tree: each one waits for an RCU grace period.
		if un := unix.Unmount("bench", unix.MNT_DETACH); un != nil && err == nil {
			err = &Error{Call: "umount2", Key: "MNT_DETACH", Path: "bench", Err: un}
		}
	}()
	if err := unix.Fchdir(bench); err != nil {
		return fmt.Errorf("enter the bench: %w", err)
	}
	return f()
}
