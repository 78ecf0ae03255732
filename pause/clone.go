package pause

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Clone asks for a child that plays a tape. Files not needed are nil.
type Clone struct {
	ID   ID
	Kind Kind
	// Flags are CLONE_NEW* of clone(2). CLONE_INTO_CGROUP goes with Cgroup by itself; any other is EINVAL.
	Flags uint64
	// Tape is the encoded tape, FDs its own fds in order. The child has these very open files: one that its app gets as stdin,
	// stdout or stderr must be in blocking mode, which os.Pipe and, for terminals and fifos, os.OpenFile don't give.
	Tape []byte
	FDs  []*os.File

	// Cgroup is a cgroup2 directory in which the child starts.
	Cgroup *os.File
	// Listen is the socket of a KindPause (see Listen). Gate is the read end of a KindInit's pipe.
	Listen, Gate *os.File
	// Stdout and Stderr are read ends of pipes that pause reads; with TTY Stdout is the terminal's master and Stderr nil.
	Stdout, Stderr *os.File
	// Stdin is the write end of a pipe; nil with TTY.
	Stdin *os.File
	// Log is the file to which pause's log writer writes what it reads, opened O_WRONLY, its offset being its end. nil: no log.
	Log *os.File
	// WriterCgroups are the cgroup.procs files that a KindPause's log writer joins.
	WriterCgroups []*os.File

	TTY bool
	// Name is shown in ps behind the role of a KindPause or KindInit: printable ASCII, cut to 31 bytes.
	Name string
}

// Clone starts a child and returns when pause has. Where the tape has a FORK step that is when it was carried out, else at once: a step
// that fails before is a *FailedError here, one that fails later ends the process and is in its exit's State.
//
// The files stay the caller's, who closes them when he likes after the call: pause has its own then.
//
// If ctx ends first, or with it the call, nothing of the child will be left: it is killed as soon as it is known, and its
// exit acknowledged and kept from onExit. If the connection ends first (ErrLost), the next one's List has it, if it came to be: an id in there
// that the caller doesn't know is to be killed and acknowledged.
func (c *Conn) Clone(ctx context.Context, q Clone) (*Process, error) {
	if q.Kind == KindSelf {
		return nil, fmt.Errorf("pause: CLONE %s: KindSelf starts no process: Self does that", q.ID)
	}
	k := &call{request: "CLONE", id: q.ID, want: typeCloned, late: func(r reply) { c.discardLocked(q.ID, r) }}
	r, err := c.clone(ctx, k, &q)
	if err != nil {
		return nil, err
	}
	return &Process{ID: q.ID, PIDFD: r.file, Pid: int(r.cloned.PID), Slot: r.cloned.Slot, conn: c}, nil
}

// Self makes the nursery itself play a tape. A step that fails is a *FailedError; those before it are done.
func (c *Conn) Self(ctx context.Context, tape []byte, fds []*os.File) error {
	_, err := c.clone(ctx, &call{request: "CLONE_SELF", want: typeDone}, &Clone{Kind: KindSelf, Tape: tape, FDs: fds})
	return err
}

// discardLocked ends the child of a Clone whose asker has gone. The caller holds mu.
func (c *Conn) discardLocked(id ID, r reply) {
	c.mu.unwanted[id] = true
	_ = Signal(r.file, unix.SIGKILL) // an error means that it has ended
	r.drop()
}

func (c *Conn) clone(ctx context.Context, k *call, q *Clone) (reply, error) {
	if err := q.check(); err != nil {
		return reply{}, fmt.Errorf("pause: %s %s: %w", k.request, q.ID, err)
	}
	tape, err := tapeFile(q.Tape)
	if err != nil {
		return reply{}, fmt.Errorf("pause: %s %s: tape: %w", k.request, q.ID, err)
	}
	defer tape.Close()
	m, files := q.message(tape)
	return do(ctx, c, k, typeClone, m, files)
}

// check finds what pause would refuse with a mere errno.
func (q *Clone) check() error {
	if len(q.Tape) > MaxTapeSize {
		return fmt.Errorf("a tape of %d bytes: at most %d fit: fewer or shorter arguments and environment variables are the remedy", len(q.Tape), MaxTapeSize)
	}
	if len(q.FDs) > MaxTapeFDs {
		return fmt.Errorf("a tape with %d fds: at most %d go: fewer mounts and devices are the remedy", len(q.FDs), MaxTapeFDs)
	}
	if len(q.WriterCgroups) > MaxWriterCgroups {
		return fmt.Errorf("%d cgroups for the log writer: at most %d go", len(q.WriterCgroups), MaxWriterCgroups)
	}
	for _, f := range append(q.FDs[:len(q.FDs):len(q.FDs)], q.WriterCgroups...) {
		if f == nil {
			return errors.New("a nil file among FDs or WriterCgroups")
		}
	}
	return nil
}

// message lays the request out: which of the files is what.
func (q *Clone) message(tape *os.File) (*msgClone, []*os.File) {
	m := &msgClone{ID: q.ID, CloneFlags: q.Flags, Kind: uint32(q.Kind)}
	var files []*os.File
	place := func(f *os.File) uint32 {
		if f == nil {
			return noFD
		}
		files = append(files, f)
		return uint32(len(files) - 1)
	}
	m.CgroupFD = place(q.Cgroup)
	m.ListenFD = place(q.Listen)
	m.GateFD = place(q.Gate)
	m.StdoutFD = place(q.Stdout)
	m.StderrFD = place(q.Stderr)
	m.StdinFD = place(q.Stdin)
	m.LogFD = place(q.Log)
	m.TapeFDs = place(tape)
	files = append(files, q.FDs...)
	files = append(files, q.WriterCgroups...)
	m.WriterCgroupFDs = uint32(len(q.WriterCgroups))
	if q.Cgroup != nil {
		m.CloneFlags |= unix.CLONE_INTO_CGROUP
	}
	if q.TTY {
		m.Flags |= flagLogTTY
	}
	copy(m.Name[:len(m.Name)-1], q.Name)
	return m, files
}

// tapeFile makes the sealed memfd in which a tape travels.
func tapeFile(tape []byte) (*os.File, error) {
	f, err := newMemfd("podlet-tape", unix.MFD_NOEXEC_SEAL)
	if err != nil {
		return nil, err
	}
	if err := fillMemfd(f, tape); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
