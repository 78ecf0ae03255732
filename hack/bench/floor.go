package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"podlet/internal/image"
)

// floorProcess is hack/floor at work: it does what it is told, a word a line, and answers with the time that took.
type floorProcess struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *bufio.Scanner
}

// layers unpacks the layers of the image at layout into dir and gives their directories, the topmost first: the floor's lower
// layers are of the same kind as podlet's.
func layers(ctx context.Context, layout, dir string) ([]string, error) {
	store, err := image.Open(filepath.Join(dir, "images"))
	if err != nil {
		return nil, err
	}
	images, err := store.Import(ctx, layout, image.ImportOptions{})
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return images[0].LayerDirs(), store.Close()
}

// startFloor starts the program; dir is for its writable layers, on the file system that podlet's are on. wrap is as in node.Options.
func startFloor(program string, lower []string, dir, cgroupParent string, wrap ...string) (*floorProcess, error) {
	if _, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("%w: run make build/floor first", err)
	}
	scratch := filepath.Join(dir, "scratch")
	if err := os.Mkdir(scratch, 0o700); err != nil {
		return nil, err
	}
	argv := append(append([]string{}, wrap...), program, strings.Join(lower, ":"), scratch, cgroupParent)
	f := &floorProcess{cmd: exec.Command(argv[0], argv[1:]...)}
	f.cmd.Stderr = os.Stderr
	var err error
	if f.in, err = f.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	f.answers = bufio.NewScanner(out)
	return f, f.cmd.Start()
}

// removeFloorPods takes away what a floor that died in the middle has left: pins below dir, and cgroups below parent.
func removeFloorPods(dir, parent string) error {
	var failed []error
	pins, err := filepath.Glob(filepath.Join(dir, "scratch/pins/*"))
	failed = append(failed, err)
	for _, pin := range pins {
		// EINVAL: it died before the mount.
		if err := unix.Unmount(pin, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			failed = append(failed, fmt.Errorf("unmount %s: %w", pin, err))
		}
	}
	for _, trees := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		groups, err := filepath.Glob(trees + parent + "/floor-*")
		failed = append(failed, err)
		for _, group := range groups {
			failed = append(failed, removeGroup(group))
		}
	}
	return errors.Join(failed...)
}

// removeGroup removes a cgroup whose processes are ending, of which v1 tells nobody.
func removeGroup(path string) error {
	for range 200 {
		err := os.Remove(path)
		// Another name of the same tree, such as cpu of cpu,cpuacct, has it gone already.
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("remove %s: it has processes: %w", path, unix.EBUSY)
}

// do has one word carried out.
func (f *floorProcess) do(word string) (time.Duration, error) {
	if _, err := fmt.Fprintln(f.in, word); err != nil {
		return 0, fmt.Errorf("floor: %w", err)
	}
	if !f.answers.Scan() {
		return 0, fmt.Errorf("floor: %s: it ended without an answer", word)
	}
	got, ns, _ := strings.Cut(f.answers.Text(), " ")
	n, err := strconv.ParseInt(ns, 10, 64)
	if err != nil || got != word {
		return 0, fmt.Errorf("floor: %s: it answered %q", word, f.answers.Text())
	}
	return time.Duration(n), nil
}

// close lets the program end; a pod that is up ends with it.
func (f *floorProcess) close() error {
	f.in.Close()
	if err := f.cmd.Wait(); err != nil {
		return fmt.Errorf("floor: %w", err)
	}
	return nil
}
