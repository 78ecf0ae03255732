package cri

import (
	"context"
	"errors"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/internal/image"
)

// RemoveImage removes an image with all its names. One that is not there is success.
func (s *Server) RemoveImage(_ context.Context, r *cri.RemoveImageRequest) (*cri.RemoveImageResponse, error) {
	ref := r.GetImage().GetImage()
	if ref == "" {
		return nil, invalid("no image named")
	}
	if err := s.Images.Remove(ref); err != nil && !errors.Is(err, image.ErrNotFound) {
		return nil, err
	}
	return &cri.RemoveImageResponse{}, nil
}
