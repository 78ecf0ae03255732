package cri

import (
	"context"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/internal/streaming"
	"podlet/pod"
)

// Attach gives the URL of a session with a container's own process.
func (s *Server) Attach(ctx context.Context, r *cri.AttachRequest) (*cri.AttachResponse, error) {
	if err := checkStreams(r.GetStdin(), r.GetStdout(), r.GetStderr(), r.GetTty()); err != nil {
		return nil, err
	}
	if err := s.Pods.MayAttach(ctx, r.GetContainerId(), r.GetTty()); err != nil {
		return nil, err
	}
	url, err := s.Streams.Command(&streaming.Command{
		Kind: "attach", Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr, TTY: r.Tty,
		Run: func(ctx context.Context, streams *streaming.Streams) (int, error) {
			return 0, s.Pods.Attach(ctx, r.ContainerId, podStreams(streams, r.Tty))
		},
	})
	if err != nil {
		return nil, err
	}
	return &cri.AttachResponse{Url: url}, nil
}

// checkStreams refuses what api.proto doesn't allow of ExecRequest and AttachRequest.
func checkStreams(stdin, stdout, stderr, tty bool) error {
	if !stdin && !stdout && !stderr {
		return invalid("one of stdin, stdout and stderr must be true")
	}
	if tty && stderr {
		return invalid("stderr with a tty: there is one stream for both, stdout")
	}
	return nil
}

func podStreams(s *streaming.Streams, tty bool) *pod.Streams {
	return &pod.Streams{Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr, TTY: tty, Resize: s.Resize}
}
