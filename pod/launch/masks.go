package launch

import (
	"strings"

	"golang.org/x/sys/unix"

	"podlet/pod/tape"
)

// paths makes what containers may not change read-only and hides what they may not see. A path that this kernel doesn't have
// needs neither; a tape has no branch for that, so a file of pause's own tree, which is gone after the pivot, stands in for it.
func (b *builder) paths() {
	for _, p := range b.c.ReadOnly {
		b.readOnlyPath(p)
	}
	if len(b.c.Masked) > 0 {
		dir := b.OpenAt2(tape.Cwd, pathMaskDir, tape.How{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC}, "open the empty directory")
		file := b.OpenAt2(tape.Cwd, pathMaskFile, tape.How{Flags: unix.O_PATH | unix.O_CLOEXEC}, "open the null device")
		for _, p := range b.c.Masked {
			b.mask(p, dir, file)
		}
		b.Close(dir, "")
		b.Close(file, "")
	}
	b.Close(b.proc, "")
	if b.hasSys {
		b.Close(b.sys, "")
	}
}

// base is the fd below which an absolute path of the container is opened, and how.
func (b *builder) base(p string) (dir tape.Fd, rel string, resolve uint64) {
	if rel, ok := strings.CutPrefix(p, "/proc/"); ok {
		return b.proc, rel, beneath
	}
	if rel, ok := strings.CutPrefix(p, "/sys/"); ok && b.hasSys {
		return b.sys, rel, beneath
	}
	return b.root, strings.TrimPrefix(p, "/"), inRoot
}

func (b *builder) readOnlyPath(p string) {
	dir, rel, resolve := b.base(p)
	why := "make " + p + " read-only"
	at := b.OpenAt2(dir, rel, tape.How{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: resolve}, why)
	b.orElse(at, pathMaskFile)
	m := b.OpenTree(at, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, why)
	b.MountSetattr(m, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, tape.MountAttr{Set: unix.MOUNT_ATTR_RDONLY}, why)
	b.Attach(m, at, why)
	b.Close(m, "")
	b.Close(at, "")
}

// orElse opens own, a path of pause's tree, where the step before, which opens at, found nothing.
func (b *builder) orElse(at tape.Reg, own string) {
	b.Unless(b.Last().Ignore(unix.ENOENT), func() {
		b.Into(at)
		b.OpenAt2(tape.Cwd, own, tape.How{Flags: unix.O_PATH | unix.O_CLOEXEC}, "this kernel doesn't have it")
	})
}

// mask covers p with an empty directory if it is one, else with the null device.
func (b *builder) mask(p string, emptyDir, null tape.Fd) {
	dir, rel, resolve := b.base(p)
	why := "mask " + p
	at := b.OpenAt2(dir, rel, tape.How{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: resolve}, why)
	var isFile *tape.StepRef
	b.Unless(b.Last().Ignore(unix.ENOENT, unix.ENOTDIR), func() {
		file := b.OpenAt2(dir, rel, tape.How{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: resolve}, why)
		b.orElse(file, pathMaskFile)
		isFile = b.cover(file, null, why)
	})
	// A close doesn't fail: this body runs only where the whole one above was skipped.
	b.Unless(isFile.Ignore(unix.EBADF), func() { b.cover(at, emptyDir, why) })
}

// cover mounts a clone of what over the path behind at, and closes at with its last step.
func (b *builder) cover(at tape.Reg, what tape.Fd, why string) *tape.StepRef {
	m := b.OpenTree(what, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH, why)
	b.Attach(m, at, why)
	b.Close(m, "")
	return b.Close(at, "")
}
