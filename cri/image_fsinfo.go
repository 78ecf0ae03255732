package cri

import (
	"context"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ImageFsInfo tells what images take on the disk.
func (s *Server) ImageFsInfo(context.Context, *cri.ImageFsInfoRequest) (*cri.ImageFsInfoResponse, error) {
	fs := s.Images.FsInfo()
	usage := &cri.FilesystemUsage{
		Timestamp: fs.Time.UnixNano(), FsId: &cri.FilesystemIdentifier{Mountpoint: fs.Mountpoint},
		UsedBytes: &cri.UInt64Value{Value: fs.Bytes}, InodesUsed: &cri.UInt64Value{Value: fs.Inodes},
	}
	return &cri.ImageFsInfoResponse{ImageFilesystems: []*cri.FilesystemUsage{usage}}, nil
}
