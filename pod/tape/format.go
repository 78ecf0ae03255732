package tape

// The wire form. All numbers are little-endian; the parts follow one another without a gap; every part's size is a multiple of 8 but data's.
//
//	+--------+---------+----------+------+
//	| header | steps   | relocs   | data |
//	+--------+---------+----------+------+
//
// Header, 48 bytes:
//
//	0        4         8        12       16          20       24           28        32         36          40      44
//	| magic  | version | arch   | size   | steps_off | nsteps | relocs_off | nrelocs | data_off | data_size | nfds  | 0  |
//
// Step, 72 bytes:
//
//	0    2     3       4                 10     11         16                24                           72
//	| nr | dst | flags | kind, 6 x 1     | skip | 0, 5 x 1 | ignore, 4 x 2   | arg, 6 x 8                 |
//
//	flags  bit  7   6   5   4   3     2          1      0
//	            0   0   0   0   TRY   POSITIVE   SKIP   FORK
//
//	kind   IMM 0   arg is the value
//	       STR 1   arg is the offset of a NUL-terminated string in data
//	       BUF 2   arg is   63 ........ 32 | 31 ........ 0
//	                        length         | offset in data
//	       FD  3   arg is the index of a passed fd
//	       REG 4   arg is a register
//
// Reloc, 16 bytes:
//
//	0       4      8           16
//	| where | kind | value     |
//
//	kind   DATA 1  64 bits at where become the address of data + value
//	       FD   2  32 bits at where become the number of passed fd value
//	       FD64 3  64 bits at where become the number of passed fd value

// The numbers of tape.h.
const (
	magic   = 0x65706174
	version = 1

	maxSize    = 8 << 20
	maxSteps   = 16384
	maxFDs     = 4096
	registers  = 64
	noRegister = 0xff
	ignores    = 4
	maxSkip    = 255

	stepInvalid = 0xffffffff

	headerSize = 48
	stepSize   = 72
	relocSize  = 16
)

// Kinds of an argument.
const (
	argImm = 0
	argStr = 1
	argBuf = 2
	argFD  = 3
	argReg = 4
)

// Flags of a step.
const (
	flagFork     = 1 << 0
	flagSkip     = 1 << 1
	flagPositive = 1 << 2
	flagTry      = 1 << 3
	flagRetry    = 1 << 4

	knownFlags = flagFork | flagSkip | flagPositive | flagTry | flagRetry
)

// Kinds of a relocation.
const (
	relocData = 1
	relocFD   = 2
	relocFD64 = 3
)

// argument is one of a step's six.
type argument struct {
	kind  uint8
	value uint64
}

// step is a system call with what may become of its result. why and sought aren't on the wire.
type step struct {
	nr     uint16
	dst    int // register, or -1
	flags  uint8
	args   [6]argument
	skip   int
	ignore [ignores]uint16
	why    string
	sought string // see StepRef.Sought
}

func (s *step) has(flag uint8) bool { return s.flags&flag != 0 }

// ignoresAny reports whether some failure of the step lets the tape go on.
func (s *step) ignoresAny() bool { return s.ignore != [ignores]uint16{} }

type reloc struct {
	where uint32
	kind  uint32
	value uint64
}
