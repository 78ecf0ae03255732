package tape

import (
	"encoding/binary"
	"slices"
)

// Tape is a finished tape. It doesn't change.
type Tape struct {
	name   string
	fds    []string
	steps  []step
	relocs []reloc
	data   []byte
}

// Name is what New was given; a decoded tape has none.
func (t *Tape) Name() string { return t.name }

// FDs are the names of the fds that must come with the tape, in order.
func (t *Tape) FDs() []string { return slices.Clone(t.fds) }

// Len is the number of steps.
func (t *Tape) Len() int { return len(t.steps) }

// Fork is the index of the step whose child plays on, or -1: none does.
func (t *Tape) Fork() int {
	return slices.IndexFunc(t.steps, func(s step) bool { return s.has(flagFork) })
}

func (t *Tape) size() int {
	return headerSize + stepSize*len(t.steps) + relocSize*len(t.relocs) + len(t.data)
}

// Encode gives the wire form, for the machine that this program was built for. A tape that Finish or Decode gave has one.
func (t *Tape) Encode() ([]byte, error) {
	// What the player would refuse is a mistake of this package, and is told where it can be found.
	if err := t.check(); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	out := make([]byte, 0, t.size())
	steps := headerSize
	relocs := steps + stepSize*len(t.steps)
	data := relocs + relocSize*len(t.relocs)
	for _, v := range []int{
		magic, version, arch, t.size(), steps, len(t.steps), relocs, len(t.relocs), data, len(t.data), len(t.fds), 0,
	} {
		out = le.AppendUint32(out, uint32(v))
	}
	for i := range t.steps {
		out = t.steps[i].append(out)
	}
	for _, r := range t.relocs {
		out = le.AppendUint32(out, r.where)
		out = le.AppendUint32(out, r.kind)
		out = le.AppendUint64(out, r.value)
	}
	out = append(out, t.data...)
	return out, nil
}

func (s *step) append(out []byte) []byte {
	le := binary.LittleEndian
	dst := byte(noRegister)
	if s.dst >= 0 {
		dst = byte(s.dst)
	}
	out = le.AppendUint16(out, s.nr)
	out = append(out, dst, s.flags)
	for _, a := range s.args {
		out = append(out, a.kind)
	}
	out = append(out, byte(s.skip), 0, 0, 0, 0, 0)
	for _, errno := range s.ignore {
		out = le.AppendUint16(out, errno)
	}
	for _, a := range s.args {
		out = le.AppendUint64(out, a.value)
	}
	return out
}
