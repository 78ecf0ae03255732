package tape

import (
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// StepError is a step that failed. It unwraps to the errno. Its text doesn't name the tape: who plays one says for what.
type StepError struct {
	// Step is the call as Explain shows it, of a long one the beginning; empty where no step is to blame.
	Step string
	// Why is what the step was for: "mount proc on /proc". Where no step is to blame it says what failed instead.
	Why string
	// Hint is what may be the matter and what helps; often empty.
	Hint string
	// Index is the step's number as Explain shows it, -1: no step.
	Index int
	Errno syscall.Errno
}

// stepMost is how much of a step's text an error has, in bytes. Arguments that are too large for the kernel are too large for a log, a record and an answer, too.
const stepMost = 2000

func (e *StepError) Error() string {
	var b strings.Builder
	switch {
	case e.Why != "":
		b.WriteString(e.Why)
	default:
		b.WriteString(e.Step)
	}
	b.WriteString(": " + errnoName(e.Errno))
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	if e.Index >= 0 && e.Why != "" {
		fmt.Fprintf(&b, " [step %d: %s]", e.Index, e.Step)
	}
	return b.String()
}

func (e *StepError) Unwrap() error { return e.Errno }

// stepNone is FAILED_STEP_NONE of pause/src/proto.h: the request failed before a tape was looked at.
const stepNone = 0xfffffffe

// Error makes an error, always a *StepError, of what pause reports about t: the step and the errno of a status slot or of a FAILED
// message. errno 0 is no error: nil.
func (t *Tape) Error(step uint32, errno int32) error {
	if errno == 0 {
		return nil
	}
	e := &StepError{Index: -1, Errno: syscall.Errno(errno)}
	switch {
	case step == stepInvalid:
		e.Why = "hand the tape to pause"
		e.Hint = "pause refused the tape itself: podlet and pause don't fit together"
	case step == stepNone:
		e.Why = "start a process to play the tape"
	case step == uint32(len(t.steps)):
		e.Why = "play the tape"
		e.Hint = "it ran out without an execve"
	case step > uint32(len(t.steps)):
		e.Why = fmt.Sprintf("step %d of a tape that has %d", step, len(t.steps))
		e.Hint = "pause reports on another tape"
	case e.Errno == unix.ENOENT && t.steps[step].sought != "":
		e.Why = beginning(t.steps[step].sought)
		e.Hint = hint(&t.steps[step], e.Errno)
	default:
		s := t.Step(int(step))
		e.Index, e.Step, e.Why = s.Index, beginning(s.Text), s.Why
		e.Hint = hint(&t.steps[step], e.Errno)
	}
	return e
}

// beginning cuts a long text, between two runes.
func beginning(text string) string {
	if len(text) <= stepMost {
		return text
	}
	return strings.ToValidUTF8(text[:stepMost], "") + "…"
}

// errnoName is "EPERM" for what the machine knows, else its number in words.
func errnoName(errno syscall.Errno) string {
	if name := unix.ErrnoName(errno); name != "" {
		return name
	}
	return fmt.Sprintf("errno %d", int(errno))
}
