package cri

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/internal/image"
	"podlet/internal/registry"
	"podlet/internal/streaming"
	"podlet/pod"
)

// maxMessage is the largest message that is taken or sent, in bytes. Kubelets take 16 MiB, to which ExecSync keeps; a list of everything has no such bound.
const maxMessage = 64 << 20

// Server serves both services of the CRI.
type Server struct {
	cri.UnimplementedRuntimeServiceServer
	cri.UnimplementedImageServiceServer

	Pods    *pod.Runtime
	Images  *image.Store
	Puller  *registry.Puller // nil: PullImage is not served
	Streams *streaming.Server
	Log     *slog.Logger // not nil
	Release string       // podlet's version, for Version and Status
	// Life ends when podlet is about to stop, and streams that have no end of their own end with it; nil: they don't.
	Life context.Context

	// networkSaid is what the last look at the network found amiss, "" for nothing.
	networkSaid atomic.Pointer[string]
}

// New makes the gRPC server for s.
func (s *Server) New() *grpc.Server {
	g := grpc.NewServer(
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxSendMsgSize(maxMessage),
		grpc.UnaryInterceptor(s.unary),
		grpc.StreamInterceptor(s.stream),
	)
	cri.RegisterRuntimeServiceServer(g, s)
	cri.RegisterImageServiceServer(g, s)
	return g
}

// unary answers a panic with Internal, gives every error its code, and logs it once.
func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (answer any, err error) {
	began := time.Now()
	defer func() {
		if p := recover(); p != nil {
			s.Log.Error("panic", "call", info.FullMethod, "panic", p, "stack", string(debug.Stack()))
			answer, err = nil, status.Error(codes.Internal, fmt.Sprintf("podlet panicked in %s: %v", info.FullMethod, p))
		}
	}()
	answer, err = handler(ctx, req)
	if err == nil {
		s.Log.Debug("call", "call", info.FullMethod, "took", time.Since(began))
		return answer, nil
	}
	err = statusOf(err)
	level := slog.LevelInfo
	if status.Code(err) == codes.NotFound {
		level = slog.LevelDebug // kubelets ask for what they have just removed
	}
	s.Log.Log(ctx, level, "call failed", "call", info.FullMethod, "took", time.Since(began), "code", status.Code(err), "error", status.Convert(err).Message())
	return nil, err
}

func (s *Server) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.Log.Error("panic", "call", info.FullMethod, "panic", p, "stack", string(debug.Stack()))
			err = status.Error(codes.Internal, fmt.Sprintf("podlet panicked in %s: %v", info.FullMethod, p))
		}
	}()
	return statusOf(handler(srv, stream))
}
