package cri

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"podlet/cgroup"
	"podlet/internal/image"
	"podlet/internal/logfile"
	"podlet/internal/mount"
	"podlet/pause"
	"podlet/pod"
	"podlet/pod/spec"
)

// TestCodes: an error's code is found through all that wraps it, the request's faults before the machine's.
func TestCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		code codes.Code
	}{
		{nil, codes.OK},
		{pod.ErrNotFound, codes.NotFound},
		{image.ErrNotFound, codes.NotFound},
		{spec.ErrInvalid, codes.InvalidArgument},
		{cgroup.ErrPath, codes.InvalidArgument},
		{logfile.ErrInvalid, codes.InvalidArgument},
		{spec.ErrNoCommand, codes.InvalidArgument},
		{pod.ErrExists, codes.AlreadyExists},
		{pod.ErrPanic, codes.Internal},
		{pod.ErrState, codes.FailedPrecondition},
		{cgroup.ErrUnsupported, codes.FailedPrecondition},
		{cgroup.ErrBelowUse, codes.FailedPrecondition},
		{&mount.PropagationError{}, codes.FailedPrecondition},
		{pod.ErrUnsupported, codes.Unimplemented},
		{context.DeadlineExceeded, codes.DeadlineExceeded},
		{context.Canceled, codes.Canceled},
		{pause.ErrLost, codes.Unavailable},
		{unix.ENOSPC, codes.ResourceExhausted},
		{unix.EMFILE, codes.ResourceExhausted},
		{unix.ENOENT, codes.Unknown},
		{errors.New("anything else"), codes.Unknown},
		{errors.Join(unix.ENOSPC, pod.ErrInvalid), codes.InvalidArgument},
		{status.Error(codes.DataLoss, "as it is"), codes.DataLoss},
	} {
		err := c.err
		if err != nil {
			err = fmt.Errorf("run pod a/b: %w", err)
		}
		if got := status.Code(statusOf(err)); got != c.code {
			t.Errorf("%v: %v, want %v", err, got, c.code)
		}
		if err != nil && status.Convert(statusOf(err)).Message() == "" {
			t.Errorf("%v: no message", err)
		}
	}
}
