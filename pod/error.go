package pod

import (
	"context"
	"errors"
)

// The kinds of errors that callers tell apart. Every error of a verb that is not the machine's own wraps one of them.
var (
	// ErrNotFound: there is no such pod, container or image.
	ErrNotFound = errors.New("not found")
	// ErrInvalid: the request could be carried out on no machine and in no state.
	ErrInvalid = errors.New("invalid request")
	// ErrExists: the name is taken.
	ErrExists = errors.New("already exists")
	// ErrState: the object is in a state in which this can't be done.
	ErrState = errors.New("not possible in this state")
	// ErrUnsupported: podlet or this machine can't do this.
	ErrUnsupported = errors.New("not supported")
	// ErrPanic: a mistake of podlet's own that some request brought to light. Only that request fails; the log has the stack.
	ErrPanic = errors.New("podlet panicked")
)

// cancelled says that an error is the caller's own haste: another caller may fare better.
func cancelled(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
