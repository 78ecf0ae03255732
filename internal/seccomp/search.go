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

// search writes a balanced tree of comparisons of the accumulator that ends in the outcome of the span it lies in.
func (a *assembler) search(spans []span) label {
	n := len(spans)
	if n == 1 {
		return spans[0].write()
	}
	// One number out of the rest is told by one comparison.
	if n == 3 && spans[0].key == spans[2].key && spans[2].from-spans[1].from == 1 {
		rest := spans[0].write()
		return a.jump(unix.BPF_JEQ, spans[1].from, spans[1].write(), rest)
	}
	middle := n / 2
	high := a.search(spans[middle:])
	low := a.search(spans[:middle])
	return a.jump(unix.BPF_JGE, spans[middle].from, high, low)
}
