package launch

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"podlet/pod/tape"
)

// inRoot resolves as inside a chroot: absolute links and ".." stay below the root (openat2(2)). Magic links would lead out of it.
const inRoot = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS

// mountPoint opens target below root and makes it, with its parents, where it is missing.
func mountPoint(b *tape.Builder, root tape.Fd, target string, file bool, resolve uint64, why string) tape.Reg {
	rel := strings.TrimPrefix(target, "/")
	how := tape.How{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: resolve}
	if !file {
		how.Flags |= unix.O_DIRECTORY
	}
	at := b.OpenAt2(root, rel, how, why)
	b.Unless(b.Last().Ignore(unix.ENOENT), func() {
		parents(b, root, rel, resolve, why)
		if file {
			how = tape.How{Flags: unix.O_CREAT | unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK, Mode: 0o644, Resolve: resolve}
		} else {
			dir := parent(b, root, rel, resolve, why)
			b.Mkdirat(dir, path.Base(rel), 0o755, why).Ignore(unix.EEXIST)
			release(b, dir, root)
		}
		b.Into(at)
		b.OpenAt2(root, rel, how, why)
		if file {
			b.Unless(b.Last().Ignore(unix.ENOENT), func() { onLink(b, at, root, rel, resolve, why) })
		}
	})
	return at
}

// onLink opens a link whose target can't be made, itself: a file mounted on it is found in its place. Root filesystems of Ubuntu have
// /etc/resolv.conf as a link into a directory of /run that containers don't have.
func onLink(b *tape.Builder, at tape.Reg, root tape.Fd, rel string, resolve uint64, why string) {
	b.Into(at)
	b.OpenAt2(root, rel, tape.How{Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: resolve}, why)
}

// parents makes every directory above rel.
func parents(b *tape.Builder, root tape.Fd, rel string, resolve uint64, why string) {
	for i, c := range rel {
		if c != '/' {
			continue
		}
		dir := parent(b, root, rel[:i], resolve, why)
		b.Mkdirat(dir, path.Base(rel[:i]), 0o755, why).Ignore(unix.EEXIST)
		release(b, dir, root)
	}
}

// parent opens the directory that holds rel.
func parent(b *tape.Builder, root tape.Fd, rel string, resolve uint64, why string) tape.Fd {
	dir := path.Dir(rel)
	if dir == "." {
		return root
	}
	return b.OpenAt2(root, dir, tape.How{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: resolve}, why)
}

func release(b *tape.Builder, dir, root tape.Fd) {
	if dir != root {
		b.Close(dir, "")
	}
}
