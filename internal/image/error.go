package image

import (
	"errors"
	"fmt"
	"strconv"
)

var (
	// ErrNotFound: no such image in the store.
	ErrNotFound = errors.New("image not found")
	// ErrInvalid: what was given (a reference, an archive, a manifest, a layer, a user) is malformed or beyond a bound. Trying again doesn't help.
	ErrInvalid = errors.New("invalid")
	// ErrLocked: another process has the store open.
	ErrLocked = errors.New("image store is open in another process")
	// ErrNotComplete: podlet has just started and doesn't know yet which images its containers use.
	ErrNotComplete = errors.New("it is not known yet which images containers use: try again")
	// ErrPanic: a mistake of podlet's own that some input brought to light. What was being made of it is given up, nothing else; the log has the stack.
	ErrPanic = errors.New("panic in podlet")
)

// invalidError carries a text and is ErrInvalid, so that the text needn't say "invalid".
type invalidError struct{ err error }

func (e *invalidError) Error() string        { return e.err.Error() }
func (e *invalidError) Unwrap() error        { return e.err }
func (e *invalidError) Is(target error) bool { return target == ErrInvalid }

func invalid(format string, args ...any) error {
	return &invalidError{fmt.Errorf(format, args...)}
}

// quote shows a text of unknown origin in a message: quoted, and cut to what a log line bears.
func quote(s string) string {
	const most = 120
	if len(s) <= most {
		return strconv.Quote(s)
	}
	return strconv.Quote(s[:most]) + fmt.Sprintf("… (%d bytes)", len(s))
}
