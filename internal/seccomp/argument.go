package seccomp

import (
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data (linux/seccomp.h). All architectures here are little-endian.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArgs   = 16
)

func lowWord(arg uint) uint32  { return offsetArgs + uint32(arg)*8 }
func highWord(arg uint) uint32 { return lowWord(arg) + 4 }

// decision writes what a decision says; calls with the same one share it.
func (a *assembler) decision(d decision) label {
	if len(d.rules) == 0 {
		return a.ret(d.otherwise)
	}
	return a.leaf(d.key(), func() label {
		if arg, ok := d.onlyArgument(); ok {
			return a.byValue(arg, d)
		}
		return a.byRule(d)
	})
}

// onlyArgument says that one argument alone decides, and by its order, not its bits.
func (d decision) onlyArgument() (uint, bool) {
	arg := d.rules[0].when[0].arg
	for _, r := range d.rules {
		for _, c := range r.when {
			if c.arg != arg || c.op == specs.OpMaskedEqual {
				return 0, false
			}
		}
	}
	return arg, true
}

// verdict is the outcome where the only argument that matters has the value x.
func (d decision) verdict(x uint64) uint32 {
	for _, r := range d.rules {
		if !slices.ContainsFunc(r.when, func(c condition) bool { return !c.holds(x) }) {
			return r.ret
		}
	}
	return d.otherwise
}

// stretch is an interval of 64-bit numbers with one verdict, up to the next one's start.
type stretch struct {
	from    uint64
	verdict uint32
}

// stretches cuts all numbers into intervals: a comparison's outcome changes at its number or right behind it, and nowhere else.
func (d decision) stretches() []stretch {
	cuts := []uint64{0}
	for _, r := range d.rules {
		for _, c := range r.when {
			cuts = append(cuts, c.value)
			if c.value+1 != 0 {
				cuts = append(cuts, c.value+1)
			}
		}
	}
	slices.Sort(cuts)
	var out []stretch
	for _, at := range slices.Compact(cuts) {
		v := d.verdict(at)
		if n := len(out); n > 0 && out[n-1].verdict == v {
			continue
		}
		out = append(out, stretch{at, v})
	}
	return out
}

// byValue searches the argument's interval: first its high word, then, within one value of that, its low word.
func (a *assembler) byValue(arg uint, d decision) label {
	all := d.stretches()
	var highs []uint32
	for _, s := range all {
		high := uint32(s.from >> 32)
		highs = append(highs, high)
		if uint32(s.from) != 0 && high+1 != 0 {
			highs = append(highs, high+1)
		}
	}
	slices.Sort(highs)
	var spans []span
	for _, high := range slices.Compact(highs) {
		first := uint64(high) << 32
		lows := a.lows(all, first, first|0xffffffff)
		if len(lows) == 1 {
			spans = append(spans, span{high, lows[0].key, lows[0].write})
			continue
		}
		key := fmt.Sprint("low word of ", arg)
		for _, l := range lows {
			key += fmt.Sprint(" ", l.from, ":", l.key)
		}
		spans = append(spans, span{high, key, func() label {
			return a.leaf(key, func() label { return a.load(lowWord(arg), a.search(lows)) })
		}})
	}
	spans = join(spans)
	if len(spans) == 1 {
		return spans[0].write()
	}
	return a.load(highWord(arg), a.search(spans))
}

// lows gives the intervals of the low word for arguments from first to last, which have the same high word.
func (a *assembler) lows(all []stretch, first, last uint64) []span {
	var out []span
	for i, s := range all {
		if s.from > last || i+1 < len(all) && all[i+1].from <= first {
			continue
		}
		out = append(out, span{uint32(max(s.from, first)), fmt.Sprint("ret ", s.verdict), func() label { return a.ret(s.verdict) }})
	}
	return out
}

// byRule tries one rule after the other.
func (a *assembler) byRule(d decision) label {
	next := a.ret(d.otherwise)
	for _, r := range slices.Backward(d.rules) {
		yes := a.ret(r.ret)
		for _, c := range slices.Backward(r.when) {
			yes = a.test(c, yes, next)
		}
		next = yes
	}
	return next
}

// test goes to yes if the condition holds, else to no.
func (a *assembler) test(c condition, yes, no label) label {
	switch c.op {
	case specs.OpEqualTo:
		return a.equal(c, 0xffffffff_ffffffff, yes, no)
	case specs.OpNotEqual:
		return a.equal(c, 0xffffffff_ffffffff, no, yes)
	case specs.OpMaskedEqual:
		return a.equal(c, c.mask, yes, no)
	case specs.OpGreaterThan:
		return a.greater(c, unix.BPF_JGT, yes, no)
	case specs.OpGreaterEqual:
		return a.greater(c, unix.BPF_JGE, yes, no)
	case specs.OpLessEqual:
		return a.greater(c, unix.BPF_JGT, no, yes)
	default: // OpLessThan
		return a.greater(c, unix.BPF_JGE, no, yes)
	}
}

// equal compares the bits below the mask, the high word first.
func (a *assembler) equal(c condition, mask uint64, yes, no label) label {
	if c.value&^mask != 0 {
		return no
	}
	low := a.equalWord(lowWord(c.arg), uint32(mask), uint32(c.value), yes, no)
	return a.equalWord(highWord(c.arg), uint32(mask>>32), uint32(c.value>>32), low, no)
}

func (a *assembler) equalWord(offset, mask, value uint32, yes, no label) label {
	switch {
	case mask == 0:
		return yes
	case mask == 0xffffffff:
		return a.load(offset, a.jump(unix.BPF_JEQ, value, yes, no))
	case value == 0:
		return a.load(offset, a.jump(unix.BPF_JSET, mask, no, yes))
	default:
		return a.load(offset, a.and(mask, a.jump(unix.BPF_JEQ, value, yes, no)))
	}
}

// greater compares the high words, and where they are equal the low words by the comparison given.
func (a *assembler) greater(c condition, comparison uint16, yes, no label) label {
	low := a.load(lowWord(c.arg), a.jump(comparison, uint32(c.value), yes, no))
	same := a.jump(unix.BPF_JEQ, uint32(c.value>>32), low, no)
	return a.load(highWord(c.arg), a.jump(unix.BPF_JGT, uint32(c.value>>32), yes, same))
}
