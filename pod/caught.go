package pod

import (
	"fmt"
	"runtime/debug"
)

// caught makes a panic of f an ErrPanic, where f is to run on a goroutine of its own: the one that answers the request could not catch it.
func (r *Runtime) caught(f func() error) func() error {
	return func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				r.log.Error("panic", "panic", p, "stack", string(debug.Stack()))
				err = fmt.Errorf("%w: %v", ErrPanic, p)
			}
		}()
		return f()
	}
}
