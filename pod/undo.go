package pod

import (
	"context"
	"errors"
	"time"
)

// undoTime is how long taking back a failed creation may take; the request that failed may have no time left at all.
const undoTime = 10 * time.Second

// undo is a stack of what has to be taken back if a creation fails.
type undo []func(context.Context) error

func (u *undo) add(f func(context.Context) error) { *u = append(*u, f) }

// unless takes everything back, the youngest first and each whatever the others said, if *err is set; failures are joined to it.
func (u undo) unless(err *error) {
	if *err == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), undoTime)
	defer cancel()
	for i := len(u) - 1; i >= 0; i-- {
		*err = errors.Join(*err, u[i](ctx))
	}
}
