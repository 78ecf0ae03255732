package tape

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// OpenTree opens a mount, or with OPEN_TREE_CLONE a detached copy of it. OPEN_TREE_CLOEXEC is added, and AT_EMPTY_PATH where path is "".
//
//	open_tree(AT_FDCWD, "/dev/shm", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC) = [/dev/shm]
func (b *Builder) OpenTree(dir Fd, path string, flags uint32, why string) Reg {
	flags |= unix.OPEN_TREE_CLOEXEC
	if path == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	return b.open(unix.SYS_OPEN_TREE, why, b.fd(dir), b.str(path), imm(uint64(flags)))
}

// MoveMount attaches or moves a mount. flags are MOVE_MOUNT_*.
//
//	move_mount(<rootfs>, "", AT_FDCWD, "/container", MOVE_MOUNT_F_EMPTY_PATH)
func (b *Builder) MoveMount(from Fd, fromPath string, to Fd, toPath string, flags uint32, why string) *StepRef {
	return b.add(unix.SYS_MOVE_MOUNT, why, b.fd(from), b.str(fromPath), b.fd(to), b.str(toPath), imm(uint64(flags)))
}

// Attach mounts what mount holds on what target holds: no path is walked, so nobody can bend it.
//
//	move_mount(<hosts>, "", [rootfs/etc/hosts], "", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH)
func (b *Builder) Attach(mount, target Fd, why string) *StepRef {
	return b.MoveMount(mount, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH, why)
}

// MountAttr is what MountSetattr changes: attributes MOUNT_ATTR_* to set and to clear, the propagation (MS_SHARED, MS_PRIVATE, MS_SLAVE,
// MS_UNBINDABLE, or 0: unchanged) and the user namespace of MOUNT_ATTR_IDMAP, which must be an [FD].
type MountAttr struct {
	Set, Clr, Propagation uint64
	UserNS                Fd
}

// mountAttrSize is that of struct mount_attr, Linux 5.12.
const mountAttrSize = 32

// MountSetattr changes a mount; flags are AT_*: AT_RECURSIVE for all below it. AT_EMPTY_PATH is added where path is "". A UserNS adds
// MOUNT_ATTR_IDMAP.
//
//	mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, {propagation=MS_SLAVE}, 32)
func (b *Builder) MountSetattr(fd Fd, path string, flags uint32, attr MountAttr, why string) *StepRef {
	p := make([]byte, mountAttrSize)
	var relocs []reloc
	if attr.UserNS != nil {
		attr.Set |= unix.MOUNT_ATTR_IDMAP
		relocs = b.passed(attr.UserNS, 24)
	}
	if path == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	le := binary.LittleEndian
	le.PutUint64(p[0:], attr.Set)
	le.PutUint64(p[8:], attr.Clr)
	le.PutUint64(p[16:], attr.Propagation)
	return b.add(unix.SYS_MOUNT_SETATTR, why, b.fd(fd), b.str(path), imm(uint64(flags)), b.buf(p, relocs...), imm(mountAttrSize))
}

// Mount is the old mount(2), for pause's own namespace. An empty source, fstype or data is a null pointer.
//
//	mount("tmpfs", "/", "tmpfs", MS_NOSUID|MS_NODEV, "mode=0555")
func (b *Builder) Mount(source, target, fstype string, flags uint64, data, why string) *StepRef {
	return b.add(unix.SYS_MOUNT, why, b.optional(source), b.str(target), b.optional(fstype), imm(flags), b.optional(data))
}

// optional is a string, or a null pointer where it is empty.
func (b *Builder) optional(s string) argument {
	if s == "" {
		return imm(0)
	}
	return b.str(s)
}

// PivotRoot makes newRoot the root mount and puts the old one at putOld.
//
//	pivot_root(".", ".")
func (b *Builder) PivotRoot(newRoot, putOld, why string) *StepRef {
	return b.add(unix.SYS_PIVOT_ROOT, why, b.str(newRoot), b.str(putOld))
}

// Umount2 detaches the mount at path; flags are MNT_* and UMOUNT_NOFOLLOW.
//
//	umount2(".", MNT_DETACH)
func (b *Builder) Umount2(path string, flags uint32, why string) *StepRef {
	return b.add(unix.SYS_UMOUNT2, why, b.str(path), imm(uint64(flags)))
}
