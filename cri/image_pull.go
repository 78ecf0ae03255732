package cri

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	crierrors "k8s.io/cri-api/pkg/errors"

	"podlet/internal/image"
	"podlet/internal/registry"
)

// PullImage pulls an image with the credentials that the kubelet found for it, and gives its id. The sandbox config is a hint podlet has no use for.
func (s *Server) PullImage(ctx context.Context, r *cri.PullImageRequest) (*cri.PullImageResponse, error) {
	if s.Puller == nil {
		return nil, status.Error(codes.Unimplemented, "this podlet pulls no images")
	}
	ref := r.GetImage().GetImage()
	if ref == "" {
		return nil, invalid("no image named")
	}
	a := r.GetAuth()
	img, err := s.Puller.Pull(ctx, ref, registry.Credentials{
		Username: a.GetUsername(), Password: a.GetPassword(), Auth: a.GetAuth(), ServerAddress: a.GetServerAddress(),
		IdentityToken: a.GetIdentityToken(), RegistryToken: a.GetRegistryToken(),
	})
	if err != nil {
		return nil, pullStatus(err)
	}
	return &cri.PullImageResponse{ImageRef: img.ID.String()}, nil
}

// pullKinds are the codes of what a pull can fail of; all else is as for other calls.
var pullKinds = []struct {
	err  error
	code codes.Code
}{
	{image.ErrPanic, codes.Internal},
	{registry.ErrStalled, codes.DeadlineExceeded},
	{registry.ErrConfig, codes.FailedPrecondition},
	{registry.ErrRefused, codes.PermissionDenied},
	{image.ErrInvalid, codes.InvalidArgument},
	{registry.ErrNotFound, codes.NotFound},
	{registry.ErrUnauthenticated, codes.Unauthenticated},
	{registry.ErrDenied, codes.PermissionDenied},
}

func pullStatus(err error) error {
	for _, k := range pullKinds {
		if errors.Is(err, k.err) {
			return status.Error(k.code, err.Error())
		}
	}
	// The kubelet knows these causes by the text's beginning, and only where the code is Unknown: of any other code it puts the name in front
	// (cri-client's remote_image.go, kubelet's evalCRIPullErr; so in 1.37).
	for _, k := range []struct{ err, cause error }{
		{registry.ErrSignature, crierrors.ErrSignatureValidationFailed},
		{registry.ErrUnavailable, crierrors.ErrRegistryUnavailable},
	} {
		if errors.Is(err, k.err) {
			return status.Error(codes.Unknown, k.cause.Error()+": "+err.Error())
		}
	}
	return statusOf(err)
}
