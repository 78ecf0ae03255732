package cri

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/pod"
)

// errStopping ends streams that have no end of their own.
var errStopping = errors.New("podlet is stopping")

// GetContainerEvents tells, until the client leaves or podlet stops, of every pod and container that is created, starts, stops or is removed; of
// a pod under its own id, as with other runtimes. The headers come once it listens: what a client does after them it hears of.
func (s *Server) GetContainerEvents(_ *cri.GetEventsRequest, to grpc.ServerStreamingServer[cri.ContainerEventResponse]) error {
	ctx, cancel := context.WithCancelCause(to.Context())
	defer cancel(nil)
	if s.Life != nil {
		defer context.AfterFunc(s.Life, func() { cancel(errStopping) })()
	}
	watch := s.Pods.Watch()
	defer watch.Close()
	if err := to.SendHeader(metadata.MD{}); err != nil {
		return err
	}
	for {
		e, err := watch.Next(ctx)
		if errors.Is(err, errStopping) {
			return status.Error(codes.Unavailable, err.Error())
		}
		if err != nil {
			return err
		}
		if err := to.Send(eventOf(e)); err != nil {
			return err
		}
	}
}

func eventOf(e *pod.Event) *cri.ContainerEventResponse {
	answer := &cri.ContainerEventResponse{
		ContainerId: e.ID, ContainerEventType: eventType(e.Type), CreatedAt: e.Time.UnixNano(), PodSandboxStatus: sandboxStatus(e.Pod),
	}
	for _, c := range e.Containers {
		answer.ContainersStatuses = append(answer.ContainersStatuses, containerStatus(c))
	}
	return answer
}

func eventType(t pod.EventType) cri.ContainerEventType {
	switch t {
	case pod.EventCreated:
		return cri.ContainerEventType_CONTAINER_CREATED_EVENT
	case pod.EventStarted:
		return cri.ContainerEventType_CONTAINER_STARTED_EVENT
	case pod.EventStopped:
		return cri.ContainerEventType_CONTAINER_STOPPED_EVENT
	default:
		return cri.ContainerEventType_CONTAINER_DELETED_EVENT
	}
}
