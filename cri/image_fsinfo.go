package cri

import (
	"context"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/pod"
)

// ImageFsInfo tells what images and containers' writable layers take on the disk.
func (s *Server) ImageFsInfo(context.Context, *cri.ImageFsInfoRequest) (*cri.ImageFsInfoResponse, error) {
	fs := s.Images.FsInfo()
	usage := &cri.FilesystemUsage{
		Timestamp: fs.Time.UnixNano(), FsId: &cri.FilesystemIdentifier{Mountpoint: fs.Mountpoint},
		UsedBytes: count(fs.Bytes), InodesUsed: count(fs.Inodes),
	}
	layers := s.Pods.LayersUsage()
	return &cri.ImageFsInfoResponse{ImageFilesystems: []*cri.FilesystemUsage{usage}, ContainerFilesystems: []*cri.FilesystemUsage{s.layerUsage(&layers)}}, nil
}

func (s *Server) layerUsage(u *pod.LayerUsage) *cri.FilesystemUsage {
	if u == nil {
		return nil
	}
	return &cri.FilesystemUsage{
		Timestamp: u.Time.UnixNano(), FsId: &cri.FilesystemIdentifier{Mountpoint: s.Pods.LayersMountpoint()},
		UsedBytes: count(u.Bytes), InodesUsed: count(u.Inodes),
	}
}
