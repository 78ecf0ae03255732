package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/hack/node"
)

// Names of the rows; each is measured only where -run is given, since it takes minutes.
const (
	rowPullLayers = "pull-many-layers" // 500 MB in layers of 20 MB
	rowPullBig    = "pull-big-layer"   // one layer of 2 GB
	rowPullSmall  = "pull-small-files" // one layer of 100,000 files of at most 16 KiB
)

// pullRounds is the most rounds of a pull row: each writes the image twice, and nothing is removed before the last. pullRoundsBytes bounds what the rounds write.
const (
	pullRounds      = 7
	pullRoundsBytes = 24e9
)

// pulled is what a pull row says of the image and the speed; MB are 1e6 bytes of uncompressed tar.
type pulled struct {
	Layers  int     `json:"layers"`
	Entries int64   `json:"entries"`
	Bytes   int64   `json:"bytes"`
	MBps    float64 `json:"mb_per_s"`
	// BareMBps is what `curl | tar -xz`, layer after layer, makes of it.
	BareMBps float64 `json:"bare_mb_per_s"`
	// CPU and BareCPU are the medians of user and system time, in seconds: the ratio of a busy machine, where times don't hold.
	CPU     float64 `json:"cpu_s"`
	BareCPU float64 `json:"bare_cpu_s"`
	// Disk is what podlet's whole state takes on the disk after one pull, BareDisk what the unpacked trees take, in bytes.
	Disk     int64 `json:"disk_bytes"`
	BareDisk int64 `json:"bare_disk_bytes"`
}

func (p pulled) note(r row) string {
	return fmt.Sprintf("%s: %d layers, %d entries, %.0f MB of tar; podlet %.0f MB/s with %.1f s of CPU and %.0f MB on the disk, "+
		"curl | tar -xz layer after layer (the floor of that row) %.0f MB/s with %.1f s and %.0f MB.",
		r.Name, p.Layers, p.Entries, float64(p.Bytes)/1e6, p.MBps, p.CPU, float64(p.Disk)/1e6, p.BareMBps, p.BareCPU, float64(p.BareDisk)/1e6)
}

// pullRow is the measurement of one row.
func pullRow(name string, image func() (*pullImage, error)) func(context.Context, options) ([]row, error) {
	return func(ctx context.Context, o options) ([]row, error) {
		img, err := image()
		if err != nil {
			return nil, err
		}
		return pullRows(ctx, o, name, img)
	}
}

// pullRows has podlet and `curl | tar -xz`, layer after layer, take turns at pulling one image from a registry on the loopback interface.
//
// Each round of podlet has a podlet with an empty store. What a round wrote stays until the end: ext4 passes over inodes that were deleted in the last five
// minutes, so that after a large deletion the creation of files takes several times as long. Before each turn the disk gets what is dirty, so that
// nobody pays for what the other one wrote.
func pullRows(ctx context.Context, o options, name string, img *pullImage) (_ []row, err error) {
	registry, err := serveImage(img)
	if err != nil {
		return nil, err
	}
	defer registry.Close()
	nodes := &pullNodes{options: o}
	defer func() { err = errors.Join(err, nodes.Close()) }()
	dir, err := os.MkdirTemp("", "podlet-bare-")
	if err != nil {
		return nil, err
	}
	if !o.keep {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	var podlet, bare pulls
	r := &pulled{Layers: len(img.Layers), Entries: img.Entries, Bytes: img.Bytes}
	for i := range min(o.n, pullRounds, max(1, int(pullRoundsBytes/2/img.Bytes))) {
		unix.Sync()
		tree := filepath.Join(dir, strconv.Itoa(i))
		if err := bare.add(barePull(ctx, registry.address, img, tree)); err != nil {
			return nil, err
		}
		n, err := nodes.start(ctx)
		if err != nil {
			return nil, err
		}
		unix.Sync()
		if err := podlet.add(podletPull(ctx, n, registry.name("v1"))); err != nil {
			return nil, err
		}
		// Not Close, which would remove the store.
		if err := n.Stop(); err != nil {
			return nil, err
		}
		if i > 0 {
			continue
		}
		if r.Disk, err = diskOf(n.Dir); err != nil {
			return nil, err
		}
		if r.BareDisk, err = diskOf(tree); err != nil {
			return nil, err
		}
	}
	line := timesRow(name, podlet.took, bare.took)
	speed := func(ns int64) float64 { return float64(img.Bytes) * 1e3 / float64(ns) }
	r.MBps, r.BareMBps = speed(line.P50), speed(line.FloorP50)
	r.CPU, r.BareCPU = quantile(podlet.cpu, 50).Seconds(), quantile(bare.cpu, 50).Seconds()
	line.Pull = r
	return []row{line}, nil
}

// pullNodes are the podlets of a row, each with a store of its own.
type pullNodes struct {
	options options
	all     []*node.Node
}

func (p *pullNodes) start(ctx context.Context) (*node.Node, error) {
	n, err := node.Start(ctx, node.Options{Podlet: p.options.podlet})
	if err != nil {
		return nil, err
	}
	p.all = append(p.all, n)
	return n, nil
}

// Close ends all, and removes their stores unless they are to be kept.
func (p *pullNodes) Close() error {
	var failed error
	for _, n := range p.all {
		if p.options.keep {
			failed = errors.Join(failed, n.Stop())
			continue
		}
		failed = errors.Join(failed, n.Close())
	}
	return failed
}

// pulls are the times of one side.
type pulls struct{ took, cpu []time.Duration }

func (p *pulls) add(took, cpu time.Duration, err error) error {
	p.took, p.cpu = append(p.took, took), append(p.cpu, cpu)
	return err
}

func podletPull(ctx context.Context, n *node.Node, name string) (took, cpu time.Duration, err error) {
	before, err := cpuTimeOf(n.PID())
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	_, err = n.Images.PullImage(ctx, &cri.PullImageRequest{Image: &cri.ImageSpec{Image: name}})
	if err != nil {
		return 0, 0, fmt.Errorf("PullImage: %w\n%s", err, n.LogTail())
	}
	took = time.Since(began)
	after, err := cpuTimeOf(n.PID())
	return took, after - before, err
}

// cpuTimeOf is the user and system time of a process so far (proc_pid_stat(5)).
func cpuTimeOf(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field is a name in parentheses, which may hold spaces; utime and stime are the 14th and the 15th.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	const tick = time.Second / 100 // USER_HZ
	return time.Duration(user+system) * tick, err
}

// barePull fetches and unpacks the layers below dir, each into a directory of its own.
func barePull(ctx context.Context, address string, img *pullImage, dir string) (took, cpu time.Duration, err error) {
	var script strings.Builder
	script.WriteString("set -e\n")
	for i, digest := range img.Layers {
		fmt.Fprintf(&script, "mkdir -p %d; curl -sS --fail http://%s/v2/%s/blobs/%s | tar -xz -C %d\n", i, address, img.Repository, digest, i)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return 0, 0, err
	}
	began := time.Now()
	sh := exec.CommandContext(ctx, "sh", "-c", script.String())
	sh.Dir, sh.Stderr = dir, os.Stderr
	if err := sh.Run(); err != nil {
		return 0, 0, fmt.Errorf("curl | tar: %w", err)
	}
	return time.Since(began), sh.ProcessState.UserTime() + sh.ProcessState.SystemTime(), nil
}

// diskOf is what a tree takes on the disk, in bytes: its files with several names once.
func diskOf(dir string) (int64, error) {
	// ext4 gives files their blocks as it writes them.
	unix.Sync()
	var bytes int64
	seen := map[uint64]bool{}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if st.Nlink > 1 && !info.IsDir() {
			if seen[st.Ino] {
				return nil
			}
			seen[st.Ino] = true
		}
		bytes += st.Blocks * 512
		return nil
	})
	return bytes, err
}
