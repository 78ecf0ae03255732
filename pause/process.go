package pause

import (
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Process is a child that Clone started.
type Process struct {
	ID ID
	// PIDFD refers to it, also when it has ended. The caller closes it.
	PIDFD *os.File
	// Pid is its number in the PID namespace of its pause, for logs only.
	Pid  int
	Slot uint32

	conn *Conn
}

// Status reads how far the process's tape has got; see Conn.Status.
func (p *Process) Status() (Status, error) { return p.conn.Status(p.Slot) }

// Status is what a process says about its tape, in shared memory, without a system call of its own.
type Status struct {
	// Step is the one being carried out, or the one that failed. After execve it stays that of the execve.
	Step uint32
	// Errno is the failure's; 0: none yet.
	Errno unix.Errno
	// Pid is that of the child that a tape with a FORK step went on as, in pause's PID namespace; 0: none.
	Pid int
	// Done says that a tape that may end has ended: KindRun, KindPause, KindInit. A pause or init that says so serves.
	Done bool
}

// Status reads the slot of the status page that a Process or State names. The slot is the process's until its exit record is acknowledged, then another's.
//
// A child writes it as it goes, so what stands there is sure only once something else tells that the child is past it: its exit, or
// the end of a pipe that its execve closed.
func (c *Conn) Status(slot uint32) (Status, error) {
	// Read, not mapped: a page that pause made shorter, by a mistake or worse, is an error then, not a SIGBUS.
	var s tapeStatus
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(&s)), unsafe.Sizeof(s))
	if _, err := c.page.ReadAt(bytes, int64(slot)*int64(len(bytes))); err != nil {
		return Status{}, fmt.Errorf("pause: status of slot %d: %w", slot, err)
	}
	return Status{Step: s.Step, Errno: unix.Errno(s.Error), Pid: int(s.PID), Done: s.Done != 0}, nil
}

// State is what pause knows of a process.
type State struct {
	ID      ID
	Kind    Kind
	Running bool
	Slot    uint32
	// Status is that of wait4(2); only if not Running.
	Status unix.WaitStatus
	// Started and Exited are of the wall clock; Exited is zero while it runs.
	Started, Exited time.Time
	// Step and Errno are the tape's last words, only if not Running. Errno is 0 unless the launch failed; a Step before the execve's then means that
	// it was killed while launching.
	Step  uint32
	Errno unix.Errno
	// DroppedBytes and DroppedLines count the output that could not be written to the log.
	DroppedBytes, DroppedLines uint64
	// PIDFD refers to the process while it runs, in List's answers; else nil. The caller closes it, or State.
	PIDFD *os.File

	unwanted bool // its Clone was given up
}

// Close closes PIDFD.
func (s *State) Close() {
	if s.PIDFD != nil {
		s.PIDFD.Close()
		s.PIDFD = nil
	}
}

// Err is the failure of its launch as a *FailedError, nil if there was none.
func (s State) Err() error {
	if s.Running || s.Errno == 0 {
		return nil
	}
	return &FailedError{Request: "CLONE", ID: s.ID, Errno: s.Errno, Step: s.Step}
}

func stateOf(m msgProcess, pidfd *os.File) State {
	return State{
		ID:           m.ID,
		Kind:         Kind(m.Kind),
		Running:      m.State == processRunning,
		Slot:         m.Slot,
		Status:       unix.WaitStatus(m.Status),
		Started:      wallTime(m.Started),
		Exited:       wallTime(m.Exited),
		Step:         m.Step,
		Errno:        unix.Errno(m.Error),
		DroppedBytes: m.DroppedBytes,
		DroppedLines: m.DroppedLines,
		PIDFD:        pidfd,
	}
}
