package pause

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrLost says that the connection ended before the answer came. Whether the request was carried out is unknown: Dial again and List.
var ErrLost = errors.New("the connection to pause was lost")

// ErrClosed says that Close ended the connection.
var ErrClosed = errors.New("the connection to pause is closed")

// FailedError is pause's no. It unwraps to its errno.
type FailedError struct {
	// Request is what was asked for, in the protocol's words: "CLONE", "ACK".
	Request string
	ID      ID
	Errno   unix.Errno
	// Step is the tape's step that failed, StepInvalid where the tape was refused, StepNone where it never came to the tape.
	Step uint32
}

func (e *FailedError) Error() string {
	name := unix.ErrnoName(e.Errno)
	if name == "" {
		name = fmt.Sprintf("errno %d", int(e.Errno))
	}
	switch e.Step {
	case StepNone:
		return fmt.Sprintf("pause: %s %s: %s (%v)%s", e.Request, e.ID, name, e.Errno, e.hint())
	case StepInvalid:
		return fmt.Sprintf("pause: %s %s: the tape was refused: %s (%v)", e.Request, e.ID, name, e.Errno)
	}
	return fmt.Sprintf("pause: %s %s: step %d of the tape: %s (%v)", e.Request, e.ID, e.Step, name, e.Errno)
}

// hint says what an errno means where only pause's source would tell.
func (e *FailedError) hint() string {
	switch e.Errno {
	case unix.ESRCH:
		return ": pause knows no such process"
	case unix.EEXIST:
		return ": a process of this id is there, or its exit record is not acknowledged"
	case unix.E2BIG:
		return ": this pause is older than the field that was set"
	}
	if e.Request != "CLONE" {
		return ""
	}
	switch e.Errno {
	case unix.EAGAIN:
		return ": a limit on processes is reached, or pause's table is full, exit records that nobody acknowledged included"
	case unix.EINVAL:
		return ": the request has files or flags that its kind doesn't take, or the kernel doesn't take the namespaces together"
	case unix.EPERM:
		return ": only the nursery does that, or the kernel forbids the namespaces"
	}
	return ""
}

func (e *FailedError) Unwrap() error { return e.Errno }

// VersionError says that a pause was started by a podlet newer than this one.
type VersionError struct {
	// Pause is the version it speaks, Podlet the newest one this package speaks.
	Pause, Podlet uint32
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("pause speaks version %d of the protocol, this podlet up to %d: the pod was started by a newer podlet; start that one again, or remove the pod", e.Pause, e.Podlet)
}
