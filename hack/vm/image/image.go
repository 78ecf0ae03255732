package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Boot is what the guest boots from: files that nobody may change.
type Boot struct {
	Kernel    string // a bzImage
	Initramfs string // a cpio archive
	Root      string // a raw disk with an ext4 file system
}

// rootSize bounds what a guest may write to its root disk, which its snapshot alone pays for.
const rootSize = 8 << 30

// Ensure gives the guest's kernel and root disk, making them first where the cache directory has none of this Key; say is told of every step. It needs root: the files of the disk keep their owners.
// What other keys have left in the directory is removed after a build.
func Ensure(ctx context.Context, cache string, say func(string, ...any)) (Boot, error) {
	key, err := Key()
	if err != nil {
		return Boot{}, err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return Boot{}, err
	}
	dir := filepath.Join(cache, directoryPrefix+key)
	held, err := lock(ctx, filepath.Join(cache, "lock"), say)
	if err != nil {
		return Boot{}, err
	}
	defer held.Close()
	_, err = os.Stat(dir)
	if err == nil {
		return bootOf(dir), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return Boot{}, err
	}
	if os.Geteuid() != 0 {
		return Boot{}, errors.New("making the guest's root disk needs root: its files keep their owners")
	}
	if err := build(ctx, cache, dir, say); err != nil {
		return Boot{}, fmt.Errorf("make the guest's disks: %w", err)
	}
	return bootOf(dir), removeOthers(cache, dir)
}

const directoryPrefix = "boot-"

func bootOf(dir string) Boot {
	return Boot{Kernel: filepath.Join(dir, "vmlinuz"), Initramfs: filepath.Join(dir, "initramfs"), Root: filepath.Join(dir, "root.img")}
}

// build makes dir aside and renames it into place.
func build(ctx context.Context, cache, dir string, say func(string, ...any)) error {
	began := time.Now()
	work, err := os.MkdirTemp(cache, directoryPrefix+"making-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	packages, err := newApt(filepath.Join(work, "apt"))
	if err != nil {
		return err
	}
	say("downloading the guest's packages")
	if err := packages.update(ctx, say); err != nil {
		return err
	}
	found, err := packages.rootArchives(ctx, rootPackages)
	if err != nil {
		return err
	}
	kernel, err := packages.kernelArchive(ctx)
	if err != nil {
		return err
	}
	found = append(found, kernel)

	say("unpacking %d packages", len(found))
	root, made := filepath.Join(work, "root"), filepath.Join(work, "made")
	for _, sub := range []string{root, made} {
		if err := os.Mkdir(sub, 0o755); err != nil {
			return err
		}
	}
	if err := unpack(ctx, root, found); err != nil {
		return err
	}
	if err := configure(ctx, root); err != nil {
		return fmt.Errorf("configure the root disk: %w", err)
	}
	version, err := kernelVersion(root)
	if err != nil {
		return err
	}
	if err := indexModules(ctx, root, version); err != nil {
		return err
	}
	boot := bootOf(made)
	if err := writeInitramfs(boot.Initramfs, root, version); err != nil {
		return fmt.Errorf("make the initramfs: %w", err)
	}
	if err := os.Rename(filepath.Join(root, "boot/vmlinuz-"+version), boot.Kernel); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(made, "packages"), []byte(packageList(found)), 0o644); err != nil {
		return err
	}

	say("making the root disk")
	if err := Ext4(ctx, boot.Root, rootSize, "podlet-root", root); err != nil {
		return err
	}
	if err := os.Rename(made, dir); err != nil {
		return err
	}
	say("made the guest's disks with Linux %s in %s", version, time.Since(began).Round(time.Second))
	return nil
}

// packageList names the packages with their versions, one a line; the files' names have both.
func packageList(archives []string) string {
	var list strings.Builder
	for _, archive := range archives {
		list.WriteString(strings.TrimSuffix(filepath.Base(archive), ".deb") + "\n")
	}
	return list.String()
}

// removeOthers removes what other keys, or builds that were killed, left. The caller holds the lock.
func removeOthers(cache, keep string) error {
	found, err := filepath.Glob(filepath.Join(cache, directoryPrefix+"*"))
	if err != nil {
		return err
	}
	for _, dir := range found {
		if dir == keep {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}
