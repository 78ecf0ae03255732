package cri

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"podlet/cgroup"
	"podlet/internal/image"
	"podlet/internal/logfile"
	"podlet/internal/mount"
	"podlet/internal/network/bridge"
	"podlet/internal/network/cni"
	"podlet/internal/streaming"
	"podlet/pause"
	"podlet/pod"
	"podlet/pod/etcfiles"
	"podlet/pod/spec"
)

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", spec.ErrInvalid, fmt.Sprintf(format, args...))
}

func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: %s", pod.ErrUnsupported, fmt.Sprintf(format, args...))
}

// kinds are the errors whose gRPC code is known, the first that matches deciding: what was wrong with the request comes before
// what went wrong with the machine.
var kinds = []struct {
	err  error
	code codes.Code
}{
	{image.ErrPanic, codes.Internal},
	{pod.ErrPanic, codes.Internal},
	{pod.ErrInvalid, codes.InvalidArgument},
	{spec.ErrInvalid, codes.InvalidArgument},
	{spec.ErrNoCommand, codes.InvalidArgument},
	{image.ErrInvalid, codes.InvalidArgument},
	{cgroup.ErrPath, codes.InvalidArgument},
	{cgroup.ErrInvalid, codes.InvalidArgument},
	{logfile.ErrInvalid, codes.InvalidArgument},
	{etcfiles.ErrInvalid, codes.InvalidArgument},
	{pod.ErrExists, codes.AlreadyExists},
	{pod.ErrNotFound, codes.NotFound},
	{image.ErrNotFound, codes.NotFound},
	{bridge.ErrInvalid, codes.InvalidArgument},
	{bridge.ErrPortTaken, codes.FailedPrecondition},
	{bridge.ErrExhausted, codes.ResourceExhausted},
	{cni.ErrInvalid, codes.InvalidArgument},
	{cni.ErrNotReady, codes.Unavailable},
	{cni.ErrTryAgain, codes.Unavailable},
	{cni.ErrTimeout, codes.DeadlineExceeded},
	{streaming.ErrBusy, codes.ResourceExhausted},
	{pod.ErrState, codes.FailedPrecondition},
	{cgroup.ErrFrozen, codes.FailedPrecondition},
	{cgroup.ErrBelowUse, codes.FailedPrecondition},
	{pod.ErrUnsupported, codes.Unimplemented},
	{cgroup.ErrUnsupported, codes.FailedPrecondition},
	{errors.ErrUnsupported, codes.FailedPrecondition},
	{context.DeadlineExceeded, codes.DeadlineExceeded},
	{context.Canceled, codes.Canceled},
	{pause.ErrLost, codes.Unavailable},
	{pause.ErrClosed, codes.Unavailable},
	{pod.ErrBehind, codes.ResourceExhausted},
	{unix.ENOSPC, codes.ResourceExhausted},
	{unix.EDQUOT, codes.ResourceExhausted},
	{unix.EMFILE, codes.ResourceExhausted},
	{unix.ENFILE, codes.ResourceExhausted},
}

// statusOf gives an error its gRPC code. The message is the error's own.
func statusOf(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	var propagation *mount.PropagationError
	if errors.As(err, &propagation) {
		return status.Error(codes.FailedPrecondition, err.Error())
	}
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return status.Error(k.code, err.Error())
		}
	}
	return status.Error(codes.Unknown, err.Error())
}
