package launch

import (
	"strings"

	"golang.org/x/sys/unix"

	"podlet/pod/tape"
)

// paths makes what containers may not change read-only and hides what they may not see. A path that this kernel doesn't have
// needs neither: a jump leads past the steps.
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
}

// base is the fd below which an absolute path of the container is opened, and how. in is the place to leave afterwards, or nil.
func (b *builder) base(path string) (dir tape.Fd, rel string, resolve uint64, in *place) {
	if p, rel := b.entryOf(path); p != nil {
		return p.fd, rel, beneath, p
	}
	return b.root, strings.TrimPrefix(path, "/"), inRoot, nil
}

func (b *builder) readOnlyPath(p string) {
	dir, rel, resolve, in := b.base(p)
	why := "make " + p + " read-only"
	at := b.OpenAt2(dir, rel, tape.How{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: resolve}, why)
	b.ifThere(func() {
		m := b.OpenTree(at, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, why)
		b.MountSetattr(m, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, tape.MountAttr{Set: unix.MOUNT_ATTR_RDONLY}, why)
		b.Attach(m, at, why)
		b.Close(m, "")
		b.Close(at, "")
	})
	b.leave(in)
}

// mask covers p with an empty directory if it is one, else with the null device.
func (b *builder) mask(p string, emptyDir, null tape.Fd) {
	dir, rel, resolve, in := b.base(p)
	why := "mask " + p
	at := b.OpenAt2(dir, rel, tape.How{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: resolve}, why)
	var past *tape.StepRef
	b.Unless(b.Last().Ignore(unix.ENOENT, unix.ENOTDIR), func() {
		file := b.OpenAt2(dir, rel, tape.How{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: resolve}, why)
		b.ifThere(func() { b.cover(file, null, why) })
		past = b.jump("no directory")
	})
	b.Unless(past, func() { b.cover(at, emptyDir, why) })
	b.leave(in)
}

// ifThere appends body's steps, which run only if the step before them found what it wanted to open. ENOTDIR: there is a file on the way.
func (b *builder) ifThere(body func()) {
	var past *tape.StepRef
	b.Unless(b.Last().Ignore(unix.ENOENT, unix.ENOTDIR), func() { past = b.jump("not there") })
	b.Unless(past, body)
}

// jump appends a call that changes nothing and never fails: an Unless of it is always skipped, so what leads to it jumps over that.
func (b *builder) jump(why string) *tape.StepRef {
	return b.Prctl(unix.PR_GET_DUMPABLE, 0, 0, 0, 0, why).Ignore(unix.EINVAL)
}

// cover mounts a clone of what over the path behind at, and closes at.
func (b *builder) cover(at tape.Reg, what tape.Fd, why string) {
	m := b.OpenTree(what, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH, why)
	b.Attach(m, at, why)
	b.Close(m, "")
	b.Close(at, "")
}
