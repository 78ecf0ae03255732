package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// dir is an fd of a cgroup directory. Whoever gets one from a call closes it.
type dir int

// beneath keeps a lookup inside the tree: no way up, no link, no other mount.
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV

func (d dir) close() { unix.Close(int(d)) }

// open opens the file or directory name below d. Errors are bare errnos: the
// caller knows the path in words.
func (d dir) open(name string, flags int) (int, error) {
	if name == "" {
		name = "."
	}
	return retry(func() (int, error) {
		return unix.Openat2(int(d), name, &unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: beneath})
	})
}

func (d dir) openDir(name string) (dir, error) {
	fd, err := d.open(name, unix.O_PATH|unix.O_DIRECTORY)
	return dir(fd), err
}

// mkdir and rmdir take a checked path or the name of a directory just read. The
// cgroup file systems have no links, and neither name can hold a "..", so both stay
// below d without openat2(2)'s help.
func (d dir) mkdir(name string) error { return unix.Mkdirat(int(d), name, 0o755) }

func (d dir) rmdir(name string) error { return unix.Unlinkat(int(d), name, unix.AT_REMOVEDIR) }

// write writes value to the file name in one write(2), as cgroup files want it.
func (d dir) write(name, value string) error {
	fd, err := d.open(name, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = retry(func() (int, error) { return unix.Write(fd, []byte(value)) })
	return err
}

// read returns the whole file without the newline at its end.
func (d dir) read(name string) (string, error) {
	fd, err := d.open(name, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var whole []byte
	var page [4096]byte
	for {
		n, err := retry(func() (int, error) { return unix.Read(fd, page[:]) })
		if err != nil {
			return "", err
		}
		if n == 0 {
			return strings.TrimSuffix(string(whole), "\n"), nil
		}
		whole = append(whole, page[:n]...)
	}
}

func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}

// walk visits the directories below d, d included, depth first. enter gets each
// directory before, leave its parent and its name after what is below it; leave
// is not called for d itself. Either may be nil. An app may nest its cgroups
// thousands deep, so the walk holds one fd and goes up again by "..", which
// in a cgroup is always the true parent. Directories that vanish are skipped.
func (d dir) walk(ctx context.Context, enter func(dir) error, leave func(parent dir, name string) error) error {
	type level struct {
		name string
		rest []string // subdirectories not yet visited
	}
	cur, rest, err := enterDir(d, ".", enter)
	if err != nil {
		return err
	}
	defer func() { cur.Close() }()
	levels := []level{{rest: rest}}
	for ctx.Err() == nil {
		top := &levels[len(levels)-1]
		if len(top.rest) > 0 {
			name := top.rest[0]
			top.rest = top.rest[1:]
			child, rest, err := enterDir(dir(cur.Fd()), name, enter)
			if gone(err) {
				continue
			}
			if err != nil {
				return err
			}
			cur.Close()
			cur = child
			levels = append(levels, level{name, rest})
			continue
		}
		if len(levels) == 1 {
			return nil
		}
		up, err := unix.Openat(int(cur.Fd()), "..", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open the parent of nested cgroup %q: %w", top.name, err)
		}
		name := top.name
		cur.Close()
		cur = os.NewFile(uintptr(up), "..")
		levels = levels[:len(levels)-1]
		if leave != nil {
			if err := leave(dir(cur.Fd()), name); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func enterDir(parent dir, name string, enter func(dir) error) (*os.File, []string, error) {
	fd, err := parent.open(name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	entries, err := f.ReadDir(-1)
	if err == nil && enter != nil {
		err = enter(dir(fd))
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	var sub []string
	for _, e := range entries {
		if e.IsDir() {
			sub = append(sub, e.Name())
		}
	}
	return f, sub, nil
}

// gone says that err is that of a cgroup, or a file in it, that is no more:
// ENODEV is what an open file of a removed cgroup answers.
func gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV)
}
