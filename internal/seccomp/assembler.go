package seccomp

import "golang.org/x/sys/unix"

// assembler writes a program from its end to its start, so that wherever a jump goes is written, and its distance known, before it: BPF
// jumps go forward only.
type assembler struct {
	code []unix.SockFilter // the last instruction first
	rets map[uint32]label
	// leaves are what is reached from several places, by what it does.
	leaves map[string]label
}

// label is an instruction's place, counted from the program's end.
type label int

// reach is how far a jump goes at most without a stepping stone. The field is a byte; the rest is for the stones of its other way.
const reach = 250

func newAssembler() *assembler {
	return &assembler{rets: map[uint32]label{}, leaves: map[string]label{}}
}

func (a *assembler) add(f unix.SockFilter) label {
	a.code = append(a.code, f)
	return label(len(a.code) - 1)
}

// distance is how many instructions stand between the next one to be written and l.
func (a *assembler) distance(l label) uint32 { return uint32(len(a.code) - 1 - int(l)) }

// ret returns a verdict; one in reach is used again.
func (a *assembler) ret(verdict uint32) label {
	if l, ok := a.rets[verdict]; ok && a.distance(l) < reach {
		return l
	}
	l := a.add(unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: verdict})
	a.rets[verdict] = l
	return l
}

// near gives a place in reach that comes to the same as l.
func (a *assembler) near(l label) label {
	if a.distance(l) < reach {
		return l
	}
	if f := a.code[l]; f.Code == unix.BPF_RET|unix.BPF_K {
		return a.ret(f.K)
	}
	return a.add(unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA, K: a.distance(l)})
}

// jump goes to yes or to no by a comparison of the accumulator: BPF_JEQ, BPF_JGT, BPF_JGE or BPF_JSET with k.
func (a *assembler) jump(comparison uint16, k uint32, yes, no label) label {
	yes = a.near(yes)
	no = a.near(no)
	return a.add(unix.SockFilter{
		Code: unix.BPF_JMP | unix.BPF_K | comparison, K: k, Jt: uint8(a.distance(yes)), Jf: uint8(a.distance(no)),
	})
}

// before writes an instruction that goes on to next.
func (a *assembler) before(next label, f unix.SockFilter) label {
	if a.distance(next) != 0 {
		a.add(unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA, K: a.distance(next)})
	}
	return a.add(f)
}

// load takes a word of struct seccomp_data into the accumulator and goes on to next.
func (a *assembler) load(offset uint32, next label) label {
	return a.before(next, unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset})
}

// and masks the accumulator and goes on to next.
func (a *assembler) and(mask uint32, next label) label {
	return a.before(next, unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: mask})
}

// leaf writes what has that key with write, or finds where it was written.
func (a *assembler) leaf(key string, write func() label) label {
	if l, ok := a.leaves[key]; ok {
		return l
	}
	l := write()
	a.leaves[key] = l
	return l
}

// program gives the instructions in their order.
func (a *assembler) program() []unix.SockFilter {
	out := make([]unix.SockFilter, len(a.code))
	for i, f := range a.code {
		out[len(out)-1-i] = f
	}
	return out
}
