package cgroup

import (
	"errors"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bpfAttrSize is the size of every attribute passed to bpf(2). Linux 6.17 to
// 7.1 write query.revision back, 8 bytes at offset 56, whatever size the caller
// gave: with the 32 bytes that the query needs, behind its end (fixed by
// 21c4b99b27f3 in 7.2). The rest must be zero and is ignored by old kernels.
const bpfAttrSize = 256

// The attributes are members of union bpf_attr, linux/bpf.h, each padded to
// bpfAttrSize. bpfAttr is the list of them.
type (
	bpfLoad struct {
		progType, insnCount uint32
		insns               unsafe.Pointer
		license             unsafe.Pointer
		_, _                uint32         // log_level, log_size
		_                   unsafe.Pointer // log_buf
		_, _                uint32         // kern_version, prog_flags
		name                [bpfNameLen]byte
		_                   [bpfAttrSize - 64]byte
	}
	bpfAttach struct {
		target, prog, attachType, flags, replace uint32
		_                                        [bpfAttrSize - 20]byte
	}
	bpfQuery struct {
		target, attachType uint32
		_, _               uint32 // query_flags, attach_flags
		ids                unsafe.Pointer
		count              uint32
		_                  [bpfAttrSize - 28]byte
	}
	bpfByID struct {
		id uint32
		_  [bpfAttrSize - 4]byte
	}
	bpfInfo struct {
		fd, len uint32
		info    unsafe.Pointer
		_       [bpfAttrSize - 16]byte
	}
	bpfAttr interface {
		bpfLoad | bpfAttach | bpfQuery | bpfByID | bpfInfo
	}
)

const bpfNameLen = 16

// progInfo is the beginning of struct bpf_prog_info.
type progInfo struct {
	progType, id    uint32
	tag             [8]byte // a hash of the instructions
	jitLen, xlated  uint32
	jitted, insns   uint64
	loadTime        uint64
	uid, mapCount   uint32
	maps            uint64
	name            [bpfNameLen]byte
	ifindex, gplBit uint32
}

// bpf is bpf(2). It escapes attr to the heap, whose pointers the garbage
// collector then sees and never moves.
func bpf[A bpfAttr](cmd uintptr, attr *A) (int, error) {
	fd, err := retry(func() (int, error) {
		r, _, errno := unix.Syscall(unix.SYS_BPF, cmd, uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr))
		if errno != 0 {
			return -1, errno
		}
		return int(r), nil
	})
	runtime.KeepAlive(attr)
	return fd, err
}

// loadAttempts bounds the loads of one program. The verifier answers EAGAIN when
// the thread has a signal waiting, and Go's runtime sends SIGURG to threads whose
// goroutine has run for long.
const loadAttempts = 20

// loadProgram loads a device program and returns its fd, which bpf(2) makes
// CLOEXEC.
func loadProgram(insns []insn, name string) (int, error) {
	license := []byte("Apache-2.0\x00")
	attr := &bpfLoad{
		progType:  unix.BPF_PROG_TYPE_CGROUP_DEVICE,
		insnCount: uint32(len(insns)),
		insns:     unsafe.Pointer(&insns[0]),
		license:   unsafe.Pointer(&license[0]),
	}
	copy(attr.name[:bpfNameLen-1], name)
	for attempt := 1; ; attempt++ {
		fd, err := bpf(unix.BPF_PROG_LOAD, attr)
		if attempt == loadAttempts || !errors.Is(err, unix.EAGAIN) {
			return fd, err
		}
	}
}

// attachProgram adds prog to cgroup's device programs, or puts it in the place
// of replace in one step (Linux 5.6) if that is not -1.
func attachProgram(cgroup dir, prog, replace int) error {
	attr := &bpfAttach{target: uint32(cgroup), prog: uint32(prog), attachType: unix.BPF_CGROUP_DEVICE, flags: unix.BPF_F_ALLOW_MULTI}
	if replace != -1 {
		attr.flags |= unix.BPF_F_REPLACE
		attr.replace = uint32(replace)
	}
	_, err := bpf(unix.BPF_PROG_ATTACH, attr)
	return err
}

// maxAttached is the kernel's bound on programs of one type on one cgroup
// (BPF_CGROUP_MAX_PROGS).
const maxAttached = 64

// attachedPrograms lists the ids of the device programs attached to cgroup
// itself.
func attachedPrograms(cgroup dir) ([]uint32, error) {
	ids := make([]uint32, maxAttached)
	attr := &bpfQuery{target: uint32(cgroup), attachType: unix.BPF_CGROUP_DEVICE, ids: unsafe.Pointer(&ids[0]), count: maxAttached}
	if _, err := bpf(unix.BPF_PROG_QUERY, attr); err != nil {
		return nil, err
	}
	return ids[:attr.count], nil
}

func programByID(id uint32) (int, error) {
	return bpf(unix.BPF_PROG_GET_FD_BY_ID, &bpfByID{id: id})
}

func programInfo(fd int) (*progInfo, error) {
	info := &progInfo{}
	attr := &bpfInfo{fd: uint32(fd), len: uint32(unsafe.Sizeof(*info)), info: unsafe.Pointer(info)}
	if _, err := bpf(unix.BPF_OBJ_GET_INFO_BY_FD, attr); err != nil {
		return nil, err
	}
	if info.tag == [8]byte{} {
		return nil, errors.New("the kernel gave no program tag")
	}
	return info, nil
}
