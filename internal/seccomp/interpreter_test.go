package seccomp

import (
	"encoding/binary"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// call is a system call as a filter sees it: struct seccomp_data without the instruction pointer, which no profile asks for.
type call struct {
	audit  uint32
	number uint32
	args   [6]uint64
}

func (c call) String() string {
	return fmt.Sprintf("arch %#x nr %d(%#x) args %#x", c.audit, c.number, c.number, c.args)
}

func (c call) bytes() [64]byte {
	var b [64]byte
	binary.LittleEndian.PutUint32(b[0:], c.number)
	binary.LittleEndian.PutUint32(b[4:], c.audit)
	for i, x := range c.args {
		binary.LittleEndian.PutUint64(b[16+8*i:], x)
	}
	return b
}

// interpret runs a program as the kernel does, and counts the instructions. What the kernel's checks (bpf_check_classic,
// seccomp_check_filter) would refuse is an error.
func interpret(program []unix.SockFilter, c call) (verdict uint32, steps int, err error) {
	memory := c.bytes()
	var accumulator uint32
	for at := 0; ; at++ {
		if at >= len(program) {
			return 0, steps, fmt.Errorf("ran beyond the program's end")
		}
		f := program[at]
		steps++
		switch f.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			if f.K%4 != 0 || f.K > 60 {
				return 0, steps, fmt.Errorf("instruction %d: load from %d", at, f.K)
			}
			accumulator = binary.LittleEndian.Uint32(memory[f.K:])
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			accumulator &= f.K
		case unix.BPF_RET | unix.BPF_K:
			return f.K, steps, nil
		case unix.BPF_JMP | unix.BPF_JA:
			at += int(f.K)
		default:
			yes, ok := compare(f.Code, accumulator, f.K)
			if !ok {
				return 0, steps, fmt.Errorf("instruction %d: code %#x", at, f.Code)
			}
			if yes {
				at += int(f.Jt)
			} else {
				at += int(f.Jf)
			}
		}
	}
}

func compare(code uint16, a, k uint32) (yes, ok bool) {
	switch code {
	case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
		return a == k, true
	case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
		return a >= k, true
	case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
		return a > k, true
	case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
		return a&k != 0, true
	}
	return false, false
}

// evaluatedAhead says whether the kernel sees, as it puts the filter in force, that a call is always allowed, and so never runs the
// filter for it: only these instructions may stand on the way (seccomp_is_const_allow).
func evaluatedAhead(program []unix.SockFilter, audit, number uint32) bool {
	var accumulator uint32
	for at := 0; at < len(program); at++ {
		f := program[at]
		switch f.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			switch f.K {
			case offsetNumber:
				accumulator = number
			case offsetArch:
				accumulator = audit
			default:
				return false
			}
		case unix.BPF_RET | unix.BPF_K:
			return f.K == unix.SECCOMP_RET_ALLOW
		case unix.BPF_JMP | unix.BPF_JA:
			at += int(f.K)
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			accumulator &= f.K
		default:
			yes, ok := compare(f.Code, accumulator, f.K)
			if !ok {
				return false
			}
			if yes {
				at += int(f.Jt)
			} else {
				at += int(f.Jf)
			}
		}
	}
	return false
}

// checkProgram holds a program to what the kernel asks of one: no jump out of it, a return at its end.
func checkProgram(t testing.TB, program []unix.SockFilter) {
	t.Helper()
	n := len(program)
	if n == 0 || n > maxInstructions {
		t.Fatalf("%d instructions", n)
	}
	for i, f := range program {
		switch f.Code & 7 {
		case unix.BPF_JMP:
			furthest := int64(max(f.Jt, f.Jf))
			if f.Code == unix.BPF_JMP|unix.BPF_JA {
				furthest = int64(f.K)
			}
			if int64(i)+1+furthest >= int64(n) {
				t.Fatalf("instruction %d of %d jumps out of the program: %+v", i, n, f)
			}
		}
	}
	if program[n-1].Code != unix.BPF_RET|unix.BPF_K {
		t.Fatalf("the last instruction is no return: %+v", program[n-1])
	}
}
