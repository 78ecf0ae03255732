package pod

import (
	"encoding/binary"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"podlet/pod/tape"
)

// The wire form's numbers that breaking a step needs; pod/tape/format.go draws it.
const (
	wireHeader = 48
	wireStep   = 72
	noSyscall  = 0xffff // ENOSYS on every machine
)

// saboteur stands in for Tape.Encode: it breaks a step of the tapes that it has orders for.
type saboteur struct {
	mu     sync.Mutex
	orders map[string]int // the step by the tape's name
	// seen and wire are the last intact tape called watched.
	watched string
	seen    *tape.Tape
	wire    []byte
}

// sabotage puts a saboteur in place until the test's end.
func sabotage(t *testing.T) *saboteur {
	s := &saboteur{orders: map[string]int{}}
	was := encode
	encode = s.encode
	t.Cleanup(func() { encode = was })
	return s
}

func (s *saboteur) encode(t *tape.Tape) ([]byte, error) {
	wire, err := t.Encode()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.Name() == s.watched {
		s.seen, s.wire = t, slices.Clone(wire)
	}
	if step, ok := s.orders[t.Name()]; ok {
		binary.LittleEndian.PutUint16(wire[wireHeader+wireStep*step:], noSyscall)
	}
	return wire, nil
}

// order breaks that step of the next tapes of that name.
func (s *saboteur) order(name string, step int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.orders[name] = step
}

// relent leaves all tapes alone.
func (s *saboteur) relent() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.orders)
}

// skips is how many steps the success of step k skips.
func (s *saboteur) skips(k int) int { return int(s.wire[wireHeader+wireStep*k+10]) }

// isTry: a step whose success ends the tape, and behind which others stand.
func (s *saboteur) isTry(k int) bool { return s.wire[wireHeader+wireStep*k+3]&(1<<3) != 0 }

// ignoresENOSYS: the step is for kernels that have the call.
func (s *saboteur) ignoresENOSYS(k int) bool {
	for i := range 4 {
		if binary.LittleEndian.Uint16(s.wire[wireHeader+wireStep*k+16+2*i:]) == uint16(unix.ENOSYS) {
			return true
		}
	}
	return false
}

// bodyEnd is the last step of the innermost Unless around step k, or -1.
func (s *saboteur) bodyEnd(k int) int {
	for ref := k - 1; ref >= 0; ref-- {
		if end := ref + s.skips(ref); end >= k {
			return end
		}
	}
	return -1
}
