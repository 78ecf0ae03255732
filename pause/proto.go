package pause

// The numbers and structs of src/proto.h, with the C names' words. proto_test.go compares each with the C compiler's.
const (
	// ProtocolVersion is the newest protocol this package speaks: 2 brought LOG_READY and LOG_TURN, 3 WRITER, WRITER_CGROUPS and FLUSH.
	ProtocolVersion = 3
	// TapeVersion is the newest tape format that the embedded pause plays; that of another pause is Conn.TapeVersion.
	TapeVersion = 1
	// MaxProcesses is how many processes one pause looks after, exit records included. The nursery's limit is MaxPods.
	MaxProcesses = 256
	// MaxPods is how many pods' pauses the nursery looks after, exit records included.
	MaxPods = 4096
	// MaxTapeSize and MaxTapeFDs bound a tape, in bytes and in fds of its own.
	MaxTapeSize = 8 << 20
	MaxTapeFDs  = 4096
	// MaxWriterCgroups bounds Clone.WriterCgroups and WriterCgroups.Join.
	MaxWriterCgroups = 32
	// MaxTaps is how many taps a process has at a time; one more is EBUSY.
	MaxTaps = 4

	maxPacketFDs  = 250
	maxPacketSize = 512
	noFD          = 0xffffffff
)

// Message types.
const (
	typeHello         = 1
	typeWelcome       = 2
	typeFDs           = 3
	typeClone         = 4
	typeCloned        = 5
	typeList          = 6
	typeProcess       = 7
	typeAck           = 8
	typeLog           = 9
	typeTap           = 10
	typeTapped        = 11
	typeCloseStdin    = 12
	typeDone          = 13
	typeFailed        = 14
	typeExited        = 15
	typeLogReady      = 16
	typeLogTurn       = 17
	typeWriter        = 18
	typeWriterCgroups = 19
	typeFlush         = 20
)

// Kind says what becomes of a cloned child.
type Kind uint32

const (
	// KindExec is a child whose tape ends in execve; running out of steps is a failure.
	KindExec Kind = 1
	// KindRun is a child that exits with 0 at its tape's end.
	KindRun Kind = 2
	// KindPause is a child that becomes a pod's pause at its tape's end. Only the nursery makes it.
	KindPause Kind = 3
	// KindInit is a child that becomes the PID 1 of a shared PID namespace at its tape's end, and ends when Clone.Gate's other end is closed.
	KindInit Kind = 4
	// KindSelf is no child: the nursery itself plays the tape. Conn.Self asks for it.
	KindSelf Kind = 5
)

func (k Kind) String() string {
	switch k {
	case KindExec:
		return "exec"
	case KindRun:
		return "run"
	case KindPause:
		return "pause"
	case KindInit:
		return "init"
	case KindSelf:
		return "self"
	}
	return "unknown kind"
}

const (
	flagLogTTY    = 1 << 0
	flagStdinOnce = 1 << 1 // not used: the pauses that heed it end stdin with podlet's death
)

const (
	processRunning = 1
	processExited  = 2
)

const (
	// StepInvalid stands for a step where pause refused the tape as a whole.
	StepInvalid = 0xffffffff
	// StepNone stands for a step where it never came to a tape.
	StepNone = 0xfffffffe
)

type msgHeader struct {
	Size, Type uint32
	Seq        uint64
}

type msgHello struct {
	H        msgHeader
	Version  uint32
	Reserved uint32
}

type msgWelcome struct {
	H           msgHeader
	Version     uint32
	TapeVersion uint32
	Started     uint64
}

type msgClone struct {
	H               msgHeader
	ID              ID
	CloneFlags      uint64
	Kind            uint32
	Flags           uint32
	CgroupFD        uint32
	ListenFD        uint32
	GateFD          uint32
	StdoutFD        uint32
	StderrFD        uint32
	StdinFD         uint32
	LogFD           uint32
	TapeFDs         uint32
	WriterCgroupFDs uint32
	Reserved        uint32
	Name            [32]byte
}

type msgCloned struct {
	H    msgHeader
	Slot uint32
	PID  int32
}

type msgID struct {
	H  msgHeader
	ID ID
}

type msgTap struct {
	H         msgHeader
	ID        ID
	WantInput uint32
	Streams   uint32
}

type msgWriter struct {
	H         msgHeader
	CloneInto uint32
	Reserved  uint32
}

type msgProcess struct {
	H            msgHeader
	ID           ID
	Kind         uint32
	State        uint32
	Slot         uint32
	Status       int32
	Started      uint64
	Exited       uint64
	Step         uint32
	Error        int32
	DroppedBytes uint64
	DroppedLines uint64
}

type msgFailed struct {
	H     msgHeader
	Error int32
	Step  uint32
}

// tapeStatus is one slot of the status page (src/tape.h).
type tapeStatus struct {
	Step  uint32
	Error int32
	PID   int32
	Done  uint32
}
