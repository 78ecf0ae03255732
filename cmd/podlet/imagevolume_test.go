package main

import (
	"archive/tar"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/hack/testimages/testimage"
)

// imageMount is an image volume at /v.
func imageMount(image, sub string) *cri.Mount {
	return &cri.Mount{ContainerPath: "/v", Readonly: true, Image: &cri.ImageSpec{Image: image, UserSpecifiedImage: "as-written"}, ImageSubPath: sub}
}

// TestImageVolume: an image's tree, or a part of it, read-only and executable, with the image's ids, also in a pod with a user namespace.
func TestImageVolume(t *testing.T) {
	n := commonNode(t)
	image, err := n.images.ImageStatus(n.ctx(), &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: tools}})
	if err != nil || image.Image == nil {
		t.Fatalf("%v, %v", image, err)
	}
	const script = "cat /v/etc/image; stat -c %u:%g /v/bin/busybox /v/home/app; /v/bin/busybox echo runs; touch /v/new 2>/dev/null || echo refused; test -e /v/bin/probe && echo whole"
	for _, p := range []*testPod{n.newPod(), n.newPod(sharing(userNS))} {
		for _, name := range []string{tools, image.Image.Id} {
			config := n.like(p.config, container("app-"+strings.Map(letter, name), "sh", "-c", script))
			mounting(imageMount(name, ""))(config)
			id := p.start(config)
			s := n.exited(id)
			want := &cri.Mount{ContainerPath: "/v", Readonly: true, Image: &cri.ImageSpec{Image: name, UserSpecifiedImage: "as-written", ImageRef: image.Image.Id}}
			if len(s.Mounts) != 1 || s.Mounts[0].String() != want.String() {
				t.Errorf("status %v, want %v", s.Mounts, want)
			}
			if out := n.logged(id); out != "a test image of podlet\n0:0\n1000:1000\nruns\nrefused\nwhole\n" {
				t.Errorf("%q", out)
			}
		}
		dir := n.like(p.config, container("dir", "sh", "-c", "cat /v/image; ls /v/bin 2>/dev/null; touch /v/new 2>/dev/null || echo refused"))
		mounting(imageMount(tools, "usr/../etc"))(dir)
		if out := p.output(dir); out != "a test image of podlet\nrefused\n" {
			t.Errorf("a directory: %q", out)
		}
		file := n.like(p.config, container("file", "cat", "/v"))
		mounting(imageMount(tools, "etc/image"))(file)
		if out := p.output(file); out != "a test image of podlet\n" {
			t.Errorf("a file: %q", out)
		}
	}
}

func letter(r rune) rune {
	if r >= 'a' && r <= 'z' {
		return r
	}
	return -1
}

// TestImageVolumeRefused: what can't be mounted is refused when the container is created, and the name is free again.
func TestImageVolumeRefused(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	change := func(f func(*cri.Mount)) *cri.Mount {
		m := imageMount(tools, "")
		f(m)
		return m
	}
	for _, c := range []struct {
		name  string
		mount *cri.Mount
		code  codes.Code
	}{
		{"not there", imageMount("podlet.test/none:latest", ""), codes.NotFound},
		{"no name", imageMount("UPPER", ""), codes.InvalidArgument},
		{"writable", change(func(m *cri.Mount) { m.Readonly = false }), codes.InvalidArgument},
		{"host path too", change(func(m *cri.Mount) { m.HostPath = "/tmp" }), codes.InvalidArgument},
		{"bidirectional", change(func(m *cri.Mount) { m.Propagation = cri.MountPropagation_PROPAGATION_BIDIRECTIONAL }), codes.InvalidArgument},
		{"no such part", imageMount(tools, "etc/none"), codes.InvalidArgument},
		{"below a file", imageMount(tools, "etc/image/x"), codes.InvalidArgument},
		{"absolute part", imageMount(tools, "/etc"), codes.InvalidArgument},
		{"part above", imageMount(tools, "../etc"), codes.InvalidArgument},
		{"part of a host path", &cri.Mount{HostPath: "/tmp", ContainerPath: "/v", ImageSubPath: "x"}, codes.InvalidArgument},
	} {
		config := container("app", "true")
		mounting(c.mount)(config)
		_, err := p.tryCreate(config)
		n.fails(err, c.code, "/v")
		if t.Failed() {
			t.Fatal(c.name)
		}
	}
	if _, err := p.tryCreate(container("app", "true")); err != nil {
		t.Error(err)
	}
}

// TestImageVolumeHolds: a volume keeps its image's layers on the disk, also over a restart of podlet, until its container is removed, which goes on telling
// what it was made from; and links in the image lead nowhere else.
func TestImageVolumeHolds(t *testing.T) {
	tree := testimage.NewTree().Dir("data", 0o755).File("data/file", 0o644, "kept\n").Symlink("in", "/data").Symlink("out", "../../../../../../etc/hostname")
	tree.Add(tar.Header{Typeflag: tar.TypeSymlink, Name: "proc-root", Linkname: "/proc/1/root/etc"}, nil)
	image := hostile(t, "volume", tree)
	n := hostileNode(t, image)
	p := n.newPod()
	config := of(container("app", "cat", "/v/file"), "volume")
	mounting(imageMount(image.Names[0], "in"))(config)
	id := p.create(config)
	before := n.status(id)
	for _, sub := range []string{"out", "proc-root"} {
		config := container("escape", "true")
		mounting(imageMount(image.Names[0], sub))(config)
		_, err := p.tryCreate(config)
		n.fails(err, codes.InvalidArgument, sub)
	}
	if _, err := n.images.RemoveImage(n.ctx(), &cri.RemoveImageRequest{Image: &cri.ImageSpec{Image: image.Names[0]}}); err != nil {
		t.Fatal(err)
	}
	n.terminate()
	n.start()
	if now := n.status(id); !contains(now.ImageRef, "@sha256:") || now.String() != before.String() {
		t.Errorf("without its images %v, was %v", now, before)
	}
	if err := n.tryStart(id); err != nil {
		t.Fatal(err)
	}
	n.exited(id)
	if out := n.logged(id); out != "kept\n" {
		t.Errorf("%q", out)
	}
	if layers := n.layersWith("data/file"); len(layers) != 1 {
		t.Errorf("layers of the removed image while a volume has it: %v", layers)
	}
	if _, err := n.RemoveContainer(n.ctx(), &cri.RemoveContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	if layers := n.layersWith("data/file"); len(layers) != 0 {
		t.Errorf("layers that outlive the volume: %v", layers)
	}
}

// layersWith lists the layers that have a file.
func (n *node) layersWith(file string) []string {
	n.t.Helper()
	var found []string
	layers, err := filepath.Glob(filepath.Join(n.dir, "root/images/layers/*"))
	if err != nil {
		n.t.Fatal(err)
	}
	for _, layer := range layers {
		if _, err := os.Stat(filepath.Join(layer, "diff", file)); err == nil {
			found = append(found, layer)
		}
	}
	return found
}
