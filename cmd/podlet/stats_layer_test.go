package main

import (
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestStatsWritableLayer: what a container writes is told soon, since it is counted again and again.
func TestStatsWritableLayer(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	c := p.start(container("writer", "sleep", "1000"))
	var last *cri.FilesystemUsage
	layer := func() *cri.FilesystemUsage {
		t.Helper()
		r, err := n.ListContainerStats(n.ctx(), &cri.ListContainerStatsRequest{Filter: &cri.ContainerStatsFilter{Id: c}})
		if err != nil || len(r.Stats) != 1 {
			t.Fatalf("ListContainerStats: %v, %v", r, err)
		}
		l := r.Stats[0].WritableLayer
		if l == nil {
			if last != nil {
				t.Fatal("the count was there before, and isn't now")
			}
			return nil
		}
		if last != nil && l.Timestamp < last.Timestamp || l.Timestamp > time.Now().UnixNano() {
			t.Errorf("a count of %d, after %v", l.Timestamp, last)
		}
		last = l
		return l
	}
	// counted waits for a count that began after now: one before may have seen half of what was done.
	counted := func() (l *cri.FilesystemUsage) {
		t.Helper()
		now := time.Now().UnixNano()
		n.soon("it is counted", func() bool {
			l = layer()
			return l != nil && l.Timestamp > now
		})
		return l
	}
	empty := counted()
	if empty.UsedBytes.Value > 1<<20 {
		t.Errorf("an empty layer takes %d bytes", empty.UsedBytes.Value)
	}
	const written = 5 << 20
	// A second name of the file and a hole take nothing.
	n.exec(c, "sh", "-c", "mkdir -p /a/b/c && dd if=/dev/zero of=/a/b/c/file bs=1M count=5 && ln /a/b/c/file /a/link && truncate -s 1G /a/hole && ln -s / /a/root")
	full := counted()
	if full.UsedBytes.Value < empty.UsedBytes.Value+written || full.UsedBytes.Value > empty.UsedBytes.Value+written+1<<20 {
		t.Errorf("%d bytes for 5 MiB, with a second name and a hole", full.UsedBytes.Value-empty.UsedBytes.Value)
	}
	// Directories a, b and c, the file, the hole and the link; exec may leave something of its own.
	if more := full.InodesUsed.Value - empty.InodesUsed.Value; more < 6 || more > 8 {
		t.Errorf("%d inodes for 6", more)
	}
	n.exec(c, "rm", "-r", "/a")
	if gone := counted(); gone.UsedBytes.Value >= empty.UsedBytes.Value+written/2 {
		t.Errorf("%d bytes when they are gone", gone.UsedBytes.Value-empty.UsedBytes.Value)
	}

	info, err := n.images.ImageFsInfo(n.ctx(), &cri.ImageFsInfoRequest{})
	if err != nil || len(info.ImageFilesystems) != 1 || len(info.ContainerFilesystems) != 1 {
		t.Fatalf("ImageFsInfo: %v, %v", info, err)
	}
	of := info.ContainerFilesystems[0]
	if of.UsedBytes.Value < last.UsedBytes.Value || of.InodesUsed.Value < last.InodesUsed.Value || of.Timestamp < last.Timestamp {
		t.Errorf("all layers %v, one of them %v", of, last)
	}
	// They are on one disk here, and kubelets take two names for two.
	if of.FsId.Mountpoint != info.ImageFilesystems[0].FsId.Mountpoint || last.FsId.Mountpoint != of.FsId.Mountpoint {
		t.Errorf("mount points %q, %q and %q", of.FsId.Mountpoint, info.ImageFilesystems[0].FsId.Mountpoint, last.FsId.Mountpoint)
	}
}
