package pause

import (
	"encoding/binary"
	"runtime"

	"golang.org/x/sys/unix"
)

// assembler makes the tapes of these tests by hand, so that they don't hang on the real one in pod/tape.
type assembler struct {
	steps  []byte
	relocs []byte
	data   []byte
	nsteps uint32
}

type argument struct {
	kind  byte
	value uint64
}

func imm(v uint64) argument                   { return argument{0, v} }
func (a *assembler) fd(index uint64) argument { return argument{3, index} }

func (a *assembler) str(s string) argument {
	at := uint64(len(a.data))
	a.data = append(append(a.data, s...), 0)
	return argument{1, at}
}

// buf adds bytes at an 8-aligned place.
func (a *assembler) buf(b []byte) argument {
	for len(a.data)%8 != 0 {
		a.data = append(a.data, 0)
	}
	at := uint64(len(a.data))
	a.data = append(a.data, b...)
	return argument{2, at | uint64(len(b))<<32}
}

const (
	stepFork = 1 << 0
	noReg    = 0xff
)

func (a *assembler) step(nr uint16, args ...argument) { a.stepWith(nr, 0, noReg, 0, args...) }

func (a *assembler) stepWith(nr uint16, flags, dst byte, ignore unix.Errno, args ...argument) {
	var s [72]byte
	binary.LittleEndian.PutUint16(s[0:], nr)
	s[2], s[3] = dst, flags
	binary.LittleEndian.PutUint16(s[16:], uint16(ignore))
	for i, x := range args {
		s[4+i] = x.kind
		binary.LittleEndian.PutUint64(s[24+8*i:], x.value)
	}
	a.steps = append(a.steps, s[:]...)
	a.nsteps++
}

// fork goes on as another child of pause.
func (a *assembler) fork() {
	args := make([]byte, 88)
	binary.LittleEndian.PutUint64(args, unix.CLONE_PARENT)
	a.stepWith(unix.SYS_CLONE3, stepFork, noReg, 0, a.buf(args), imm(88))
}

func (a *assembler) exec(argv ...string) {
	var where []uint64
	for _, s := range argv {
		where = append(where, a.str(s).value)
	}
	list := a.buf(make([]byte, 8*(len(argv)+1)))
	at := list.value & 0xffffffff
	for i, w := range where {
		r := binary.LittleEndian.AppendUint32(nil, uint32(at)+uint32(8*i))
		r = binary.LittleEndian.AppendUint32(r, 1)
		a.relocs = append(a.relocs, binary.LittleEndian.AppendUint64(r, w)...)
	}
	empty := a.buf(make([]byte, 8))
	a.step(unix.SYS_EXECVE, a.str(argv[0]), list, empty)
}

func (a *assembler) bytes(nfds uint32) []byte {
	const header = 48
	arch := uint32(unix.AUDIT_ARCH_X86_64)
	if runtime.GOARCH == "arm64" {
		arch = unix.AUDIT_ARCH_AARCH64
	}
	relocs := uint32(header + len(a.steps))
	data := relocs + uint32(len(a.relocs))
	total := data + uint32(len(a.data))
	var out []byte
	for _, v := range []uint32{0x65706174, 1, arch, total, header, a.nsteps, relocs, uint32(len(a.relocs) / 16), data, uint32(len(a.data)), nfds, 0} {
		out = binary.LittleEndian.AppendUint32(out, v)
	}
	out = append(out, a.steps...)
	out = append(out, a.relocs...)
	return append(out, a.data...)
}
