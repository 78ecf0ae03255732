package seccomp

import "golang.org/x/sys/unix"

// span is an interval of 32-bit numbers with one outcome: from its own start to the next one's. The first of a list starts at 0.
type span struct {
	from  uint32
	key   string // the same for the same outcome
	write func() label
}

// join makes one span of neighbours with the same outcome.
func join(spans []span) []span {
	out := spans[:0:0]
	for _, s := range spans {
		if n := len(out); n > 0 && out[n-1].key == s.key {
			continue
		}
		out = append(out, s)
	}
	return out
}

// run is a span with single numbers in it that have other outcomes.
type run struct {
	span
	but []span
}

// mostSingles is how many single numbers a run has at most. They are compared one after the other: few instructions, but a long way.
const mostSingles = 4

// runs gathers spans. A single number in a run costs one instruction where two borders would cost two.
func runs(spans []span) []run {
	out := []run{{span: spans[0]}}
	for i := 1; i < len(spans); i++ {
		last := &out[len(out)-1]
		single := i+1 < len(spans) && spans[i+1].from-spans[i].from == 1 && spans[i+1].key == last.key
		switch {
		case !single:
			out = append(out, run{span: spans[i]})
			continue
		case len(last.but) < mostSingles:
			last.but = append(last.but, spans[i])
		default: // The run goes on as another one.
			out = append(out, run{span{spans[i].from, last.key, last.write}, spans[i : i+1 : i+1]})
		}
		i++ // what follows the single number belongs to the run
	}
	return out
}

// search writes comparisons of the accumulator that end in the outcome of the span it lies in.
//
// At each start of a container the kernel converts and translates the filter, which takes it about 0.15 µs an instruction, and runs it
// ahead for each number of a system call, about 2.5 ns an instruction on the way. So what counts is first the number of instructions,
// then the way to the average number; the way to the furthest counts nothing.
func (a *assembler) search(spans []span) label {
	return a.tree(runs(spans), 1<<32)
}

// tree splits runs, the last of which ends before end, where half of the numbers of system calls are below.
func (a *assembler) tree(all []run, end uint64) label {
	if len(all) == 1 {
		return a.run(all[0])
	}
	weight := func(from, to uint64) int { return int(min(to, lookedAt) - min(from, lookedAt)) }
	middle, least := 0, 0
	for i := 1; i < len(all); i++ {
		border := uint64(all[i].from)
		below, above := i+weight(uint64(all[0].from), border), len(all)-i+weight(border, end)
		if worse := max(below, above); middle == 0 || worse < least {
			middle, least = i, worse
		}
	}
	high := a.tree(all[middle:], end)
	low := a.tree(all[:middle], uint64(all[middle].from))
	return a.jump(unix.BPF_JGE, all[middle].from, high, low)
}

// lookedAt is where the numbers end for which the kernel runs a filter ahead; it grows by a few a year.
const lookedAt = 480

func (a *assembler) run(r run) label {
	l := r.write()
	for i := len(r.but) - 1; i >= 0; i-- {
		l = a.jump(unix.BPF_JEQ, r.but[i].from, r.but[i].write(), l)
	}
	return l
}
