package cri

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/internal/image"
)

// ListImages lists the images, or the one that the filter names.
func (s *Server) ListImages(_ context.Context, r *cri.ListImagesRequest) (*cri.ListImagesResponse, error) {
	list, err := s.images(r.GetFilter())
	return &cri.ListImagesResponse{Images: list}, err
}

// StreamImages is ListImages in pieces.
func (s *Server) StreamImages(r *cri.StreamImagesRequest, to grpc.ServerStreamingServer[cri.StreamImagesResponse]) error {
	list, err := s.images(r.GetFilter())
	if err != nil {
		return err
	}
	return inPieces(list, func(piece []*cri.Image) error { return to.Send(&cri.StreamImagesResponse{Images: piece}) })
}

func (s *Server) images(f *cri.ImageFilter) ([]*cri.Image, error) {
	found := s.Images.List()
	if ref := f.GetImage().GetImage(); ref != "" {
		img, err := s.Images.Get(ref)
		if errors.Is(err, image.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		found = []image.Image{img}
	}
	var list []*cri.Image
	for _, img := range found {
		one, err := imageOf(img)
		if err != nil {
			// A USER that makes no sense is ImageStatus's and CreateContainer's to refuse. Here it would hide all other images, and keep the kubelet
			// from ever collecting this one. Without a uid and a name it counts as root.
			s.Log.Debug("listed without its user", "image", img.ID, "error", err)
		}
		list = append(list, one)
	}
	return list, nil
}
