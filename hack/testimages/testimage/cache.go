package testimage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Names of the ready-made images.
const (
	BusyboxName = "podlet.test/busybox:latest"
	ToolsName   = "podlet.test/tools:latest"
	ScratchName = "podlet.test/scratch:latest"
)

// dirVariable names a directory of ready-made layouts.
const dirVariable = "PODLET_TESTIMAGES"

// Busybox gives the path of an OCI layout with [BusyboxName]: a static busybox with all its applets, users and groups.
func Busybox(t testing.TB) string { return ready(t, "busybox") }

// Tools gives the path of an OCI layout with [ToolsName]: the layers of busybox, and /bin/probe.
func Tools(t testing.TB) string { return ready(t, "tools") }

// Scratch gives the path of an OCI layout with [ScratchName]: /probe and nothing else, with every field of a config set.
func Scratch(t testing.TB) string { return ready(t, "scratch") }

func ready(t testing.TB, which string) string {
	t.Helper()
	dir, err := Layout(which)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Layout gives the path of the ready-made image "busybox", "tools" or "scratch", made now if need be.
func Layout(which string) (string, error) {
	if dir := os.Getenv(dirVariable); dir != "" {
		return filepath.Join(dir, which), nil
	}
	image, err := Make(which)
	if err != nil {
		return "", err
	}
	id, err := image.ID()
	if err != nil {
		return "", err
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	// The id is in the name: another probe is another layout, and one that is in use isn't touched.
	dir := filepath.Join(cache, which+"-"+id[len("sha256:"):][:12])
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	tmp, err := os.MkdirTemp(cache, "new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := image.WriteLayout(tmp); err != nil {
		return "", err
	}
	if err := os.Rename(tmp, dir); err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, unix.ENOTEMPTY) {
		return "", err
	}
	return dir, nil
}

// Make makes a ready-made image in memory.
func Make(which string) (Image, error) {
	switch which {
	case "busybox":
		return makeBusybox()
	case "tools":
		return makeTools()
	case "scratch":
		return makeScratch()
	}
	return Image{}, fmt.Errorf("no ready-made image %q: there are busybox, tools and scratch", which)
}

// cacheDir is build/testimages of the checkout that the working directory lies in.
func cacheDir() (string, error) {
	root, err := checkout()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, "build", "testimages")
	return dir, os.MkdirAll(dir, 0o755)
}

func checkout() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "hack", "testimages", "probe", "main.go")); err == nil {
			return dir, nil
		}
		if dir == "/" {
			return "", fmt.Errorf("%s is in no checkout of podlet: set %s to a directory made by \"go run ./hack/testimages -o DIR\"", start, dirVariable)
		}
	}
}

// locked runs f while no other process does: of several test binaries that begin at once one fills the cache.
func locked(cache string, f func() error) error {
	lock, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	return f()
}
