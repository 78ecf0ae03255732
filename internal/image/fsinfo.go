package image

import "time"

// FsInfo is what the images take on their file system.
type FsInfo struct {
	// Mountpoint is the store's directory, by which the kubelet finds the file system.
	Mountpoint string
	// Bytes and Inodes are the sum over all complete layers, also those of removed images that are in use.
	Bytes, Inodes uint64
	Time          time.Time
}

// FsInfo adds up what was counted as the layers were unpacked; it touches no disk.
func (s *Store) FsInfo() FsInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	info := FsInfo{Mountpoint: s.path, Time: time.Now()}
	for _, l := range s.mu.layers {
		info.Bytes += uint64(l.Bytes)
		info.Inodes += uint64(l.Inodes)
	}
	for _, i := range s.mu.images {
		info.Bytes += uint64(i.ConfigBytes)
	}
	return info
}
