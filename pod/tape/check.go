package tape

import "bytes"

// check is tape_validate of pause/src/tape.c: what passes here passes there.
func (t *Tape) check() error {
	nul := bytes.LastIndexByte(t.data, 0)
	var written uint64
	forks := 0
	for i := range t.steps {
		s := &t.steps[i]
		if s.skip != 0 && !s.has(flagSkip) || i+1+s.skip > len(t.steps) {
			return malformed("step %d skips %d steps", i, s.skip)
		}
		for k, a := range s.args {
			if !t.argValid(a, written, nul) {
				return malformed("step %d: argument %d is of kind %d with %#x", i, k, a.kind, a.value)
			}
		}
		if s.dst >= 0 {
			written |= 1 << s.dst
		}
		if s.has(flagFork) {
			forks++
		}
	}
	if forks > 1 {
		return malformed("%d FORK steps", forks)
	}
	for i, r := range t.relocs {
		if !t.relocValid(r, nul) {
			return malformed("relocation %d: %+v", i, r)
		}
	}
	return nil
}

func (t *Tape) argValid(a argument, written uint64, nul int) bool {
	switch a.kind {
	case argImm:
		return true
	case argStr:
		return a.value < maxSize && int(a.value) <= nul
	case argBuf:
		return a.value&0xffffffff+a.value>>32 <= uint64(len(t.data))
	case argFD:
		return a.value < uint64(len(t.fds))
	case argReg:
		return a.value < registers && written>>a.value&1 != 0
	default:
		return false
	}
}

func (t *Tape) relocValid(r reloc, nul int) bool {
	width := uint64(8)
	if r.kind == relocFD {
		width = 4
	}
	end := uint64(r.where) + width
	if uint64(r.where)%width != 0 || end > uint64(len(t.data)) {
		return false
	}
	if int(r.where) <= nul && nul < int(end) {
		return false
	}
	switch r.kind {
	case relocData:
		return r.value < uint64(len(t.data))
	case relocFD, relocFD64:
		return r.value < uint64(len(t.fds))
	default:
		return false
	}
}
