package tape

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrFormat says that bytes are no tape that Encode could have written on a machine of this kind.
var ErrFormat = errors.New("not a tape")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}

// Decode reads the wire form. It refuses what pause would refuse, and more: the parts must stand where Encode puts them. The names of
// the fds become fd0, fd1 …; why the steps are there isn't on the wire. The error wraps ErrFormat. The tape keeps no reference to p.
func Decode(p []byte) (*Tape, error) {
	h, err := decodeHeader(p)
	if err != nil {
		return nil, err
	}
	t := &Tape{name: "tape", data: bytes.Clone(p[h.data:])}
	for i := range h.nfds {
		t.fds = append(t.fds, fmt.Sprintf("fd%d", i))
	}
	for i := range h.nsteps {
		s, err := decodeStep(p[headerSize+i*stepSize:][:stepSize])
		if err != nil {
			return nil, malformed("step %d: %v", i, err)
		}
		t.steps = append(t.steps, s)
	}
	for i := range h.nrelocs {
		t.relocs = append(t.relocs, decodeReloc(p[h.relocs+i*relocSize:]))
	}
	if err := t.check(); err != nil {
		return nil, err
	}
	return t, nil
}

type header struct{ nsteps, relocs, nrelocs, data, nfds int }

func decodeHeader(p []byte) (h header, err error) {
	if len(p) < headerSize || len(p) > maxSize {
		return h, malformed("%d bytes", len(p))
	}
	var f [headerSize / 4]uint32
	for i := range f {
		f[i] = binary.LittleEndian.Uint32(p[4*i:])
	}
	switch {
	case f[0] != magic:
		return h, malformed("magic %#x", f[0])
	case f[1] != version:
		return h, malformed("version %d, this is podlet for version %d", f[1], version)
	case f[2] != arch:
		return h, malformed("for another machine: AUDIT_ARCH %#x", f[2])
	case uint64(f[3]) != uint64(len(p)):
		return h, malformed("%d bytes of %d", len(p), f[3])
	case f[5] > maxSteps:
		return h, malformed("%d steps", f[5])
	case f[10] > maxFDs:
		return h, malformed("%d fds", f[10])
	case f[11] != 0:
		return h, malformed("reserved %#x", f[11])
	}
	relocs := headerSize + uint64(f[5])*stepSize
	data := relocs + uint64(f[7])*relocSize
	if f[4] != headerSize || uint64(f[6]) != relocs || uint64(f[8]) != data || data+uint64(f[9]) != uint64(len(p)) {
		return h, malformed("a part isn't where it should be")
	}
	return header{int(f[5]), int(relocs), int(f[7]), int(data), int(f[10])}, nil
}

func decodeStep(p []byte) (s step, err error) {
	le := binary.LittleEndian
	s = step{nr: le.Uint16(p), dst: int(p[2]), flags: p[3], skip: int(p[10])}
	switch {
	case p[2] == noRegister:
		s.dst = -1
	case p[2] >= registers:
		return s, fmt.Errorf("register %d", p[2])
	}
	if s.flags&^uint8(knownFlags) != 0 {
		return s, fmt.Errorf("flags %#x", s.flags)
	}
	if !bytes.Equal(p[11:16], make([]byte, 5)) {
		return s, fmt.Errorf("reserved % x", p[11:16])
	}
	for i := range s.ignore {
		s.ignore[i] = le.Uint16(p[16+2*i:])
	}
	for i := range s.args {
		s.args[i] = argument{p[4+i], le.Uint64(p[24+8*i:])}
	}
	return s, nil
}

func decodeReloc(p []byte) reloc {
	le := binary.LittleEndian
	return reloc{le.Uint32(p), le.Uint32(p[4:]), le.Uint64(p[8:])}
}
