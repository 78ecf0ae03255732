// Command cutter runs in the guest, between two power cuts: it looks at what the last one left of an image, has podlet pull the image, and cuts the power.
//
// It prints one Report, as JSON, and is gone with the machine, unless no cut is asked for.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/hack/node"
	"podlet/hack/tree"
)

// Report is what a boot found and did.
type Report struct {
	// Had: the image was there when podlet had started. Layers is how many of its layers were.
	Had    bool
	Layers int
	// StartSeconds is how long podlet took to answer.
	StartSeconds float64
	// Wrong are differences between a layer's tree and GNU tar's, and what "podlet image check --deep" finds.
	Wrong []string
	// PullSeconds is how long the pull took; 0 where the cut comes in the middle of it.
	PullSeconds float64
}

// config is the command line's.
type config struct {
	image  string // directory with layout/ and trees/DIFFID
	root   string // podlet's, on the disk that stays
	podlet string
	cut    time.Duration // after the pull; negative: none
	during bool          // cut counts from the pull's begin
	lie    bool
}

func main() {
	var c config
	flag.StringVar(&c.image, "image", "", "`directory` of the image: layout/ and trees/")
	flag.StringVar(&c.root, "root", "", "podlet's `directory` for what outlives a reboot")
	flag.StringVar(&c.podlet, "podlet", "", "the podlet `binary`")
	flag.DurationVar(&c.cut, "cut", -1, "cut the power this long after the pull's end")
	flag.BoolVar(&c.during, "during", false, "count from the pull's begin")
	flag.BoolVar(&c.lie, "lie", false, "have podlet believe in a syncfs that did nothing: this must end in damage")
	if len(os.Args) > 2 && os.Args[1] == withoutSync {
		fmt.Fprintln(os.Stderr, "cutter:", execWithoutSync(os.Args[2:]))
		os.Exit(1)
	}
	flag.Parse()
	if err := run(context.Background(), c); err != nil {
		fmt.Fprintln(os.Stderr, "cutter:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, c config) error {
	address, server, err := serveLayout(filepath.Join(c.image, "layout"))
	if err != nil {
		return fmt.Errorf("serve the image: %w", err)
	}
	defer server.Close()
	var r Report
	began := time.Now()
	o := node.Options{Podlet: c.podlet, Root: c.root, StartTime: 3 * time.Minute}
	if c.lie {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		o.Wrap = []string{self, withoutSync}
	}
	n, err := node.Start(ctx, o)
	if err != nil {
		return err
	}
	defer n.Close()
	r.StartSeconds = time.Since(began).Seconds()
	// The registry's port is another one at each boot, and so is the name.
	name := address + "/cut/image:v1"
	list, err := n.Images.ListImages(ctx, &cri.ListImagesRequest{})
	if err != nil {
		return err
	}
	r.Had = len(list.Images) > 0
	if err := c.look(ctx, n.StateDir(), &r); err != nil {
		return err
	}
	for _, i := range list.Images {
		if c.cut < 0 {
			break
		}
		if _, err := n.Images.RemoveImage(ctx, &cri.RemoveImageRequest{Image: &cri.ImageSpec{Image: i.Id}}); err != nil {
			return fmt.Errorf("RemoveImage: %w", err)
		}
	}
	if c.cut >= 0 && c.during {
		r.print()
		time.AfterFunc(c.cut, cutPower)
	}
	began = time.Now()
	if _, err := n.Images.PullImage(ctx, &cri.PullImageRequest{Image: &cri.ImageSpec{Image: name}}); err != nil {
		return fmt.Errorf("PullImage: %w\n%s", err, n.LogTail())
	}
	r.PullSeconds = time.Since(began).Seconds()
	if c.lie {
		if err := syncRecords(filepath.Join(c.root, "images")); err != nil {
			return err
		}
	}
	if c.cut < 0 {
		// Pulled again, as it was asked for: now it is whole in any case.
		if err := c.look(ctx, n.StateDir(), &r); err != nil {
			return err
		}
		r.print()
		return nil
	}
	if !c.during {
		r.print()
		time.AfterFunc(c.cut, cutPower)
	}
	select {}
}

func (r *Report) print() {
	json.NewEncoder(os.Stdout).Encode(r)
	// It travels through the kernel's hands before the power goes.
	time.Sleep(50 * time.Millisecond)
}

// cutPower is the end: no disk is synced, no file system unmounted.
func cutPower() {
	if err := os.WriteFile("/proc/sysrq-trigger", []byte("b"), 0); err != nil {
		fmt.Fprintln(os.Stderr, "cutter:", err)
		os.Exit(1)
	}
}

// look holds the layers that are there to GNU tar's trees, and asks podlet.
func (c config) look(ctx context.Context, state string, r *Report) error {
	wanted, err := os.ReadDir(filepath.Join(c.image, "trees"))
	if err != nil {
		return err
	}
	r.Layers = 0
	for _, e := range wanted {
		want, err := os.ReadFile(filepath.Join(c.image, "trees", e.Name()))
		if err != nil {
			return err
		}
		got, err := tree.Describe(filepath.Join(c.root, "images/layers", e.Name(), "diff"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		r.Layers++
		if err != nil {
			r.Wrong = append(r.Wrong, err.Error())
			continue
		}
		if d := tree.Differ("GNU tar's", string(want), "the layer's", got); d != "" {
			r.Wrong = append(r.Wrong, "layer "+e.Name()[:12]+":\n"+d)
		}
	}
	if r.Had && r.Layers < len(wanted) {
		r.Wrong = append(r.Wrong, fmt.Sprintf("the image is listed and has %d of %d layers", r.Layers, len(wanted)))
	}
	out, err := exec.CommandContext(ctx, c.podlet, "image", "check", "--deep", "--quiet", "--root", c.root, "--state", state).CombinedOutput()
	if err != nil {
		r.Wrong = append(r.Wrong, fmt.Sprintf("podlet image check: %v\n%s", err, bytes.TrimSpace(out)))
	}
	return nil
}
