package cri

import (
	"context"
	"errors"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/internal/image"
)

// ImageStatus tells of one image. An image that is not there is an empty answer, no error (api.proto).
func (s *Server) ImageStatus(_ context.Context, r *cri.ImageStatusRequest) (*cri.ImageStatusResponse, error) {
	ref := r.GetImage().GetImage()
	if ref == "" {
		return nil, invalid("no image named")
	}
	img, err := s.Images.Get(ref)
	if errors.Is(err, image.ErrNotFound) {
		return &cri.ImageStatusResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	one, err := imageOf(img)
	if err != nil {
		return nil, err
	}
	answer := &cri.ImageStatusResponse{Image: one}
	if r.GetVerbose() {
		answer.Info, err = info(map[string]any{"config": img.Config, "imported": img.Imported})
	}
	return answer, err
}

// imageOf gives what CRI says of an image. On an error, which is about its user, it is all but that.
func imageOf(img image.Image) (*cri.Image, error) {
	uid, username, err := img.Config.DefaultUser()
	out := &cri.Image{
		Id: img.ID.String(), RepoTags: img.Tags, RepoDigests: img.Digests, Size: uint64(img.Size), Username: username,
		Spec: &cri.ImageSpec{Image: img.ID.String()}, Pinned: img.Pinned,
	}
	if uid != nil {
		out.Uid = &cri.Int64Value{Value: *uid}
	}
	return out, err
}
