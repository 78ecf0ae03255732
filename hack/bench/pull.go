package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/hack/node"
)

const rowPullLayers = "pull-many-layers"

// pullRounds is the most rounds of a pull row: each writes the image twice, and nothing is removed before the last.
const pullRounds = 7

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
}

func (p pulled) note(r row) string {
	return fmt.Sprintf("%s: %d layers, %d entries, %.0f MB of tar; podlet %.0f MB/s with %.1f s of CPU, curl | tar -xz layer after layer (the floor of that row) %.0f MB/s with %.1f s.",
		r.Name, p.Layers, p.Entries, float64(p.Bytes)/1e6, p.MBps, p.CPU, p.BareMBps, p.BareCPU)
}

// pullRows has podlet and `curl | tar -xz`, layer after layer, take turns at pulling one image from a registry on the loopback interface.
//
// Each round of podlet has a podlet with an empty store. What a round wrote stays until the end: ext4 passes over inodes that were deleted in the last five
// minutes, so that after a large deletion the creation of files takes several times as long. Before each turn the disk gets what is dirty, so that
// nobody pays for what the other one wrote.
func pullRows(ctx context.Context, o options) (_ []row, err error) {
	img, err := manyLayers()
	if err != nil {
		return nil, err
	}
	registry, err := serveImage(img)
	if err != nil {
		return nil, err
	}
	defer registry.Close()
	dir, err := os.MkdirTemp("", "podlet-bare-")
	if err != nil {
		return nil, err
	}
	var nodes []*node.Node
	defer func() {
		for _, n := range nodes {
			err = errors.Join(err, n.Close())
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	var podlet, bare pulls
	for i := range min(o.n, pullRounds) {
		unix.Sync()
		if err := bare.add(barePull(ctx, registry.address, img, filepath.Join(dir, strconv.Itoa(i)))); err != nil {
			return nil, err
		}

		n, err := node.Start(ctx, node.Options{Podlet: o.podlet})
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
		unix.Sync()
		if err := podlet.add(podletPull(ctx, registry.address, n)); err != nil {
			return nil, err
		}
		// Not Close, which would remove the store.
		if err := n.Stop(); err != nil {
			return nil, err
		}
	}
	r := timesRow(rowPullLayers, podlet.took, bare.took)
	speed := func(ns int64) float64 { return float64(img.Bytes) * 1e3 / float64(ns) }
	r.Pull = &pulled{Layers: len(img.Layers), Entries: img.Entries, Bytes: img.Bytes, MBps: speed(r.P50), BareMBps: speed(r.FloorP50),
		CPU: quantile(podlet.cpu, 50).Seconds(), BareCPU: quantile(bare.cpu, 50).Seconds()}
	return []row{r}, nil
}

// pulls are the times of one side.
type pulls struct{ took, cpu []time.Duration }

func (p *pulls) add(took, cpu time.Duration, err error) error {
	p.took, p.cpu = append(p.took, took), append(p.cpu, cpu)
	return err
}

func podletPull(ctx context.Context, address string, n *node.Node) (took, cpu time.Duration, err error) {
	before, err := cpuTimeOf(n.PID())
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	_, err = n.Images.PullImage(ctx, &cri.PullImageRequest{Image: &cri.ImageSpec{Image: address + "/many-layers:v1"}})
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
		fmt.Fprintf(&script, "mkdir -p %d; curl -sS --fail http://%s/v2/many-layers/blobs/%s | tar -xz -C %d\n", i, address, digest, i)
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

// pullRegistry serves one image as "many-layers:v1".
type pullRegistry struct {
	http.Server
	address string
}

func serveImage(img *pullImage) (*pullRegistry, error) {
	at, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &pullRegistry{address: at.Addr().String()}
	r.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		what := strings.TrimPrefix(req.URL.Path, "/v2/many-layers/")
		digest := strings.TrimPrefix(what, "blobs/")
		if what == "manifests/v1" {
			digest = img.Manifest
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		}
		if !strings.HasPrefix(digest, "sha256:") {
			http.NotFound(w, req)
			return
		}
		http.ServeFile(w, req, img.blob(digest))
	})
	go r.Serve(at)
	return r, nil
}
