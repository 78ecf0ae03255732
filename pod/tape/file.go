package tape

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// How is how OpenAt2 opens: O_*, the mode of what O_CREAT makes, RESOLVE_*.
type How struct {
	Flags, Mode, Resolve uint64
}

// openHowSize is that of struct open_how, Linux 5.6.
const openHowSize = 24

// OpenAt2 opens a file. O_CLOEXEC is added. With RESOLVE_IN_ROOT or RESOLVE_BENEATH it is tried again on EAGAIN, which the kernel gives
// where something was mounted or renamed anywhere while a ".." was walked.
//
//	openat2(<rootfs>, "proc", {flags=O_PATH|O_CLOEXEC, resolve=RESOLVE_NO_MAGICLINKS|RESOLVE_IN_ROOT}, 24) = [rootfs/proc]
func (b *Builder) OpenAt2(dir Fd, path string, how How, why string) Reg {
	if how.Mode != 0 && how.Flags&(unix.O_CREAT|unix.O_TMPFILE&^unix.O_DIRECTORY) == 0 {
		b.note(fmt.Errorf("step %d: openat2 of %q has a mode but creates nothing", len(b.steps), path))
	}
	p := make([]byte, openHowSize)
	le := binary.LittleEndian
	le.PutUint64(p[0:], how.Flags|unix.O_CLOEXEC)
	le.PutUint64(p[8:], how.Mode)
	le.PutUint64(p[16:], how.Resolve)
	opened := b.open(unix.SYS_OPENAT2, why, b.fd(dir), b.str(path), b.buf(p), imm(openHowSize))
	if how.Resolve&(unix.RESOLVE_IN_ROOT|unix.RESOLVE_BENEATH) != 0 {
		b.Last().step().flags |= flagRetry
	}
	return opened
}

// Close closes fd; a register is free for reuse then and must not be named again.
//
//	close([rootfs/proc])
func (b *Builder) Close(fd Fd, why string) *StepRef {
	ref := b.add(unix.SYS_CLOSE, why, b.fd(fd))
	if reg, ok := fd.(Reg); ok && reg.b == b {
		b.closed[ref.index] = reg.id
	}
	return ref
}

// CloseRange closes the fds from first to last, or does with them what flags (CLOSE_RANGE_CLOEXEC) say. ^uint32(0) is no end.
//
//	close_range(3, ~0, CLOSE_RANGE_CLOEXEC)
func (b *Builder) CloseRange(first, last uint32, flags uint32, why string) *StepRef {
	return b.add(unix.SYS_CLOSE_RANGE, why, imm(uint64(first)), imm(uint64(last)), imm(uint64(flags)))
}

// Dup3 makes to a second number of from; flags are O_CLOEXEC or 0. The kernel refuses to where it is from's own number.
//
//	dup3(<stdout>, 1, 0)
func (b *Builder) Dup3(from Fd, to int, flags uint64, why string) *StepRef {
	return b.add(unix.SYS_DUP3, why, b.fd(from), signed(to), imm(flags))
}

// Write writes data, 1 byte at least. The player doesn't look at how much of it was written; what a tape writes (files of procfs
// and of cgroups, short pipes) is taken whole or not at all.
//
//	write([/proc/self/oom_score_adj], "-997", 4)
func (b *Builder) Write(fd Fd, data []byte, why string) *StepRef {
	if len(data) == 0 {
		b.note(fmt.Errorf("step %d: write of nothing", len(b.steps)))
	}
	return b.add(unix.SYS_WRITE, why, b.fd(fd), b.buf(data), imm(uint64(len(data))))
}

// Read1 waits for one byte, which is forgotten. With Positive an end of file is a failure.
//
//	read(<gate>, , 1) > 0
func (b *Builder) Read1(fd Fd, why string) *StepRef {
	return b.add(unix.SYS_READ, why, b.fd(fd), argument{argBuf, 1<<32 | b.data.word()}, imm(1))
}

// Chdir changes the working directory.
//
//	chdir("/srv")
func (b *Builder) Chdir(path, why string) *StepRef {
	return b.add(unix.SYS_CHDIR, why, b.str(path))
}

// Fchdir changes the working directory to an open one.
//
//	fchdir([/container])
func (b *Builder) Fchdir(fd Fd, why string) *StepRef {
	return b.add(unix.SYS_FCHDIR, why, b.fd(fd))
}

// Mkdirat makes a directory; the umask applies.
//
//	mkdirat([/container], "proc", 0555)
func (b *Builder) Mkdirat(dir Fd, name string, mode uint32, why string) *StepRef {
	return b.add(unix.SYS_MKDIRAT, why, b.fd(dir), b.str(name), imm(uint64(mode)))
}

// Mknodat makes a file, fifo, socket or device; mode holds S_IF* and the permissions, dev is unix.Mkdev's.
//
//	mknodat([dev], "null", S_IFCHR|0666, makedev(1, 3))
func (b *Builder) Mknodat(dir Fd, name string, mode uint32, dev uint64, why string) *StepRef {
	return b.add(unix.SYS_MKNODAT, why, b.fd(dir), b.str(name), imm(uint64(mode)), imm(dev))
}

// Symlinkat makes the symbolic link name in dir.
//
//	symlinkat("/proc/self/fd", [dev], "fd")
func (b *Builder) Symlinkat(target string, dir Fd, name, why string) *StepRef {
	return b.add(unix.SYS_SYMLINKAT, why, b.str(target), b.fd(dir), b.str(name))
}

// Fchownat changes the owner; -1 leaves an id as it is. flags are AT_SYMLINK_NOFOLLOW; AT_EMPTY_PATH is added where path is "".
//
//	fchownat(<tty>, "", 1000, 5, AT_EMPTY_PATH)
func (b *Builder) Fchownat(dir Fd, path string, uid, gid int, flags uint32, why string) *StepRef {
	if path == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	return b.add(unix.SYS_FCHOWNAT, why, b.fd(dir), b.str(path), signed(uid), signed(gid), imm(uint64(flags)))
}

// Fchmod changes the permissions; the umask doesn't apply.
//
//	fchmod([dev], 0755)
func (b *Builder) Fchmod(fd Fd, mode uint32, why string) *StepRef {
	return b.add(unix.SYS_FCHMOD, why, b.fd(fd), imm(uint64(mode)))
}

// Ioctl has a plain number as argument.
//
//	ioctl(0, TIOCSCTTY, 0)
func (b *Builder) Ioctl(fd Fd, req uint64, arg uint64, why string) *StepRef {
	return b.add(unix.SYS_IOCTL, why, b.fd(fd), imm(req), imm(arg))
}

// IoctlBuf hands the kernel a struct that it only reads.
//
//	ioctl([socket], SIOCSIFFLAGS, {ifr_name="lo", ifr_flags=IFF_UP|IFF_RUNNING})
func (b *Builder) IoctlBuf(fd Fd, req uint64, data []byte, why string) *StepRef {
	if len(data) == 0 {
		b.note(errors.New("ioctl of an empty struct"))
	}
	return b.add(unix.SYS_IOCTL, why, b.fd(fd), imm(req), b.buf(data))
}

// Socket makes a socket. SOCK_CLOEXEC is added to typ.
//
//	socket(AF_INET, SOCK_DGRAM|SOCK_CLOEXEC, 0) = [socket]
func (b *Builder) Socket(domain, typ, proto int, why string) Reg {
	return b.open(unix.SYS_SOCKET, why, signed(domain), signed(typ|unix.SOCK_CLOEXEC), signed(proto))
}
