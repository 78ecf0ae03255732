package cri

import (
	"context"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/internal/streaming"
)

// ExecSync runs a command in a container; timeout is in seconds, 0 being none.
func (s *Server) ExecSync(ctx context.Context, r *cri.ExecSyncRequest) (*cri.ExecSyncResponse, error) {
	if r.GetTimeout() < 0 {
		return nil, invalid("timeout %d", r.Timeout)
	}
	if err := noNUL("cmd", r.GetCmd()...); err != nil {
		return nil, err
	}
	result, err := s.Pods.ExecSync(ctx, r.GetContainerId(), r.GetCmd(), seconds(r.GetTimeout()))
	if err != nil {
		return nil, err
	}
	return &cri.ExecSyncResponse{Stdout: result.Stdout, Stderr: result.Stderr, ExitCode: int32(result.ExitCode)}, nil
}

// Exec gives the URL of a session with a command, which begins when the client comes.
func (s *Server) Exec(ctx context.Context, r *cri.ExecRequest) (*cri.ExecResponse, error) {
	if err := checkStreams(r.GetStdin(), r.GetStdout(), r.GetStderr(), r.GetTty()); err != nil {
		return nil, err
	}
	if err := noNUL("cmd", r.GetCmd()...); err != nil {
		return nil, err
	}
	if len(r.GetCmd()) == 0 || r.Cmd[0] == "" {
		return nil, invalid("no command")
	}
	if err := s.Pods.Running(ctx, r.GetContainerId()); err != nil {
		return nil, err
	}
	url, err := s.Streams.Command(&streaming.Command{
		Kind: "exec", Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr, TTY: r.Tty,
		Run: func(ctx context.Context, streams *streaming.Streams) (int, error) {
			return s.Pods.Exec(ctx, r.ContainerId, r.Cmd, podStreams(streams, r.Tty))
		},
	})
	if err != nil {
		return nil, err
	}
	return &cri.ExecResponse{Url: url}, nil
}
