package cri

import (
	"context"
	"errors"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/internal/image"
)

// ListImages lists the images, or the one that the filter names.
func (s *Server) ListImages(_ context.Context, r *cri.ListImagesRequest) (*cri.ListImagesResponse, error) {
	answer := &cri.ListImagesResponse{}
	if ref := r.GetFilter().GetImage().GetImage(); ref != "" {
		img, err := s.Images.Get(ref)
		if errors.Is(err, image.ErrNotFound) {
			return answer, nil
		}
		if err != nil {
			return nil, err
		}
		one, err := imageOf(img)
		answer.Images = []*cri.Image{one}
		return answer, err
	}
	for _, img := range s.Images.List() {
		one, err := imageOf(img)
		if err != nil {
			return nil, err
		}
		answer.Images = append(answer.Images, one)
	}
	return answer, nil
}

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

// ImageFsInfo tells what images take on the disk.
func (s *Server) ImageFsInfo(context.Context, *cri.ImageFsInfoRequest) (*cri.ImageFsInfoResponse, error) {
	fs := s.Images.FsInfo()
	usage := &cri.FilesystemUsage{
		Timestamp: fs.Time.UnixNano(), FsId: &cri.FilesystemIdentifier{Mountpoint: fs.Mountpoint},
		UsedBytes: &cri.UInt64Value{Value: fs.Bytes}, InodesUsed: &cri.UInt64Value{Value: fs.Inodes},
	}
	return &cri.ImageFsInfoResponse{ImageFilesystems: []*cri.FilesystemUsage{usage}}, nil
}

func imageOf(img image.Image) (*cri.Image, error) {
	uid, username, err := img.Config.DefaultUser()
	if err != nil {
		return nil, err
	}
	out := &cri.Image{
		Id: img.ID.String(), RepoTags: img.Tags, RepoDigests: img.Digests, Size: uint64(img.Size), Username: username,
		Spec: &cri.ImageSpec{Image: img.ID.String()},
	}
	if uid != nil {
		out.Uid = &cri.Int64Value{Value: *uid}
	}
	return out, nil
}
