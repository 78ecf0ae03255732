package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/hack/testimages/testimage"
)

// pullNode starts a podlet without any image, whose hosts.toml files are below the directory that is given as well.
func pullNode(t *testing.T) (n *node, certs string) {
	t.Helper()
	n = &node{t: t, dir: t.TempDir()}
	certs = filepath.Join(n.dir, "certs.d")
	n.flags = []string{"--certs-dirs", certs}
	n.start()
	t.Cleanup(n.end)
	return n, certs
}

// pullable is busybox with one more layer, in which /pulled has the text, all layers compressed in one way.
func pullable(t *testing.T, c testimage.Compression, text string) testimage.Image {
	t.Helper()
	i, err := testimage.Make("busybox")
	if err != nil {
		t.Fatal(err)
	}
	layer, err := testimage.NewTree().File("pulled", 0o644, text).Layer(c)
	if err != nil {
		t.Fatal(err)
	}
	i.Layers = append(slices.Clone(i.Layers), layer)
	for l := range i.Layers {
		i.Layers[l].Compression = c
	}
	i.Names = nil
	return i
}

func (n *node) pull(ctx context.Context, ref string, auth *cri.AuthConfig) (string, error) {
	r, err := n.images.PullImage(ctx, &cri.PullImageRequest{Image: &cri.ImageSpec{Image: ref}, Auth: auth})
	return r.GetImageRef(), err
}

// imageStatus is nil where there is no such image.
func (n *node) imageStatus(ref string) *cri.Image {
	n.t.Helper()
	r, err := n.images.ImageStatus(n.ctx(), &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: ref}})
	if err != nil {
		n.t.Fatalf("ImageStatus of %s: %v", ref, err)
	}
	return r.Image
}

func (n *node) listImages() []*cri.Image {
	n.t.Helper()
	r, err := n.images.ListImages(n.ctx(), &cri.ListImagesRequest{})
	if err != nil {
		n.t.Fatalf("ListImages: %v", err)
	}
	return r.Images
}

func (n *node) removeImage(ref string) {
	n.t.Helper()
	if _, err := n.images.RemoveImage(n.ctx(), &cri.RemoveImageRequest{Image: &cri.ImageSpec{Image: ref}}); err != nil {
		n.t.Fatalf("RemoveImage of %s: %v", ref, err)
	}
}

// onlyLayers waits until the image store has so many layers and nothing incomplete.
func (n *node) onlyLayers(want int) {
	n.t.Helper()
	entries := func(dir string) []string {
		all, err := filepath.Glob(filepath.Join(n.dir, "root/images", dir, "*"))
		if err != nil {
			n.t.Fatal(err)
		}
		return all
	}
	n.soon(fmt.Sprintf("%d layers and no debris in the image store", want), func() bool {
		return len(entries("tmp")) == 0 && len(entries("quarantine")) == 0 && len(entries("layers")) == want
	})
}

// runs has a container of the image say what its /pulled is.
func (n *node) runs(image, text string) {
	n.t.Helper()
	p := n.newPod()
	c := container("app", "cat", "/pulled")
	c.Image.Image = image
	if out := p.output(c); out != text {
		n.t.Errorf("a container of %s: %q, want %q", image, out, text)
	}
	n.removePods()
}

// TestPull pulls by tag and by digest, with every kind of compression and authentication; each image is what ImageStatus and ListImages say, and runs.
func TestPull(t *testing.T) {
	n, _ := pullNode(t)
	for authName, auth := range map[string]registryAuth{"anonymous": nobody, "basic": basic, "token": token} {
		r := newRegistry(t, auth)
		var credentials *cri.AuthConfig
		if auth != nobody {
			credentials = &cri.AuthConfig{Username: registryUser, Password: registryPassword}
		}
		for compressionName, compression := range map[string]testimage.Compression{"gzip": testimage.Gzip, "zstd": testimage.Zstd} {
			text := authName + " and " + compressionName
			image := pullable(t, compression, text)
			id, digest := r.push(t, "team/app:v1", image)
			tagged, digested := r.address+"/team/app:v1", r.address+"/team/app@"+digest
			for ref, tags := range map[string][]string{tagged: {tagged}, digested: nil} {
				got, err := n.pull(n.ctx(), ref, credentials)
				if err != nil || got != id {
					t.Fatalf("%s: pull %s: %q, %v; want %q", text, ref, got, err, id)
				}
				n.hasOnly(&cri.Image{Id: id, RepoTags: tags, RepoDigests: []string{digested}}, ref)
				n.onlyLayers(len(image.Layers))
				n.runs(ref, text)
				n.removeImage(id)
				if s := n.imageStatus(ref); s != nil || len(n.listImages()) != 0 {
					t.Errorf("%s: after RemoveImage: %v, %v", text, s, n.listImages())
				}
				n.onlyLayers(0)
			}
		}
	}
	if contains(n.log(), "MARKER") {
		t.Error("podlet's log has a secret")
	}
}

// hasOnly checks that there is one image with the id and the names, in the list and by each of its names.
func (n *node) hasOnly(want *cri.Image, refs ...string) {
	n.t.Helper()
	list := n.listImages()
	if len(list) != 1 {
		n.t.Fatalf("ListImages: %v", list)
	}
	got := list[0]
	if got.Id != want.Id || !slices.Equal(got.RepoTags, want.RepoTags) || !slices.Equal(got.RepoDigests, want.RepoDigests) || got.Size == 0 {
		n.t.Errorf("ListImages has %v, want %v", got, want)
	}
	for _, ref := range slices.Concat(refs, []string{want.Id}, want.RepoTags, want.RepoDigests) {
		if s := n.imageStatus(ref); s.String() != got.String() {
			n.t.Errorf("ImageStatus of %s: %v, ListImages says %v", ref, s, got)
		}
	}
}

// TestPullRefused: what a pull fails of is told by its code, the error holds no secret, and nothing is left.
func TestPullRefused(t *testing.T) {
	n, _ := pullNode(t)
	open, closed := newRegistry(t, nobody), newRegistry(t, token)
	image := pullable(t, testimage.Gzip, "text")
	open.push(t, "app:v1", image)
	closed.push(t, "app:v1", image)
	layer, err := image.Layers[0].Blob()
	if err != nil {
		t.Fatal(err)
	}
	torn := newRegistry(t, nobody)
	torn.push(t, "app:v1", image)
	delete(torn.blobs, testimage.Digest(layer))
	wrong := &cri.AuthConfig{Username: registryUser, Password: "MARKER-wrong"}
	for _, c := range []struct {
		what, ref string
		auth      *cri.AuthConfig
		code      codes.Code
	}{
		{"no such tag", open.address + "/app:v2", nil, codes.NotFound},
		{"no such repository", open.address + "/other:v1", nil, codes.NotFound},
		{"no such digest", open.address + "/app@sha256:" + strings.Repeat("0", 64), nil, codes.NotFound},
		{"a layer is missing", torn.address + "/app:v1", nil, codes.NotFound},
		{"no credentials", closed.address + "/app:v1", nil, codes.Unauthenticated},
		{"wrong credentials", closed.address + "/app:v1", wrong, codes.Unauthenticated},
		{"no registry", "127.0.0.1:1/app:v1", nil, codes.Unknown},
		{"no name", "NO:NAME", nil, codes.InvalidArgument},
	} {
		id, err := n.pull(n.ctx(), c.ref, c.auth)
		n.fails(err, c.code)
		if id != "" || err != nil && contains(err.Error(), "MARKER") {
			t.Errorf("%s: %q, %v", c.what, id, err)
		}
	}
	if list := n.listImages(); len(list) != 0 {
		t.Errorf("there are images: %v", list)
	}
	n.onlyLayers(0)
	if contains(n.log(), "MARKER") {
		t.Error("podlet's log has a secret")
	}
}

// TestPullMirror: --certs-dirs says where the images of a registry come from, read anew for each pull.
func TestPullMirror(t *testing.T) {
	n, certs := pullNode(t)
	mirror := newRegistry(t, nobody)
	id, digest := mirror.push(t, "team/app:v1", pullable(t, testimage.Gzip, "mirrored"))
	const ref = "registry.invalid/team/app:v1"
	if _, err := n.pull(n.ctx(), ref, nil); err == nil {
		t.Error("pulled without a mirror")
	}
	dir := filepath.Join(certs, "registry.invalid")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	hosts := fmt.Sprintf("server = \"https://registry.invalid\"\n[host.%q]\ncapabilities = [\"pull\", \"resolve\"]\n", mirror.URL)
	if err := os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte(hosts), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := n.pull(n.ctx(), ref, &cri.AuthConfig{Username: registryUser, Password: registryPassword, ServerAddress: "registry.invalid"})
	if err != nil || got != id {
		t.Fatalf("pull %s: %q, %v; want %q", ref, got, err, id)
	}
	n.hasOnly(&cri.Image{Id: id, RepoTags: []string{ref}, RepoDigests: []string{"registry.invalid/team/app@" + digest}})
	if !mirror.asked("ns=registry.invalid") {
		t.Error("the mirror was not told whose images are meant")
	}
	n.runs(id, "mirrored")
}

// TestPullDiskFull: a disk too small for the image is told as such, takes back what was written, and has room for a smaller one.
func TestPullDiskFull(t *testing.T) {
	if !private(t) {
		return
	}
	n := &node{t: t, dir: t.TempDir()}
	store := filepath.Join(n.dir, "root/images")
	if err := os.MkdirAll(store, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("small", store, "tmpfs", 0, "mode=0700,size=8m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The kernel may let go of what podlet's children had in there a moment after their end.
		n.soon("the store is unmounted", func() bool { return unix.Unmount(store, 0) == nil })
	})
	n.start()
	t.Cleanup(n.end)
	r := newRegistry(t, nobody)
	fits := pullable(t, testimage.Gzip, "fits")
	large := pullable(t, testimage.Gzip, strings.Repeat("too much", 1<<20))
	id, _ := r.push(t, "app:fits", fits)
	r.push(t, "app:large", large)
	for range 3 {
		_, err := n.pull(n.ctx(), r.address+"/app:large", nil)
		n.fails(err, codes.ResourceExhausted)
		n.onlyLayers(0)
	}
	if got, err := n.pull(n.ctx(), r.address+"/app:fits", nil); err != nil || got != id {
		t.Errorf("a smaller image: %q, %v", got, err)
	}
	n.runs(id, "fits")
	n.removeImage(id)
	n.onlyLayers(0)
}

// TestPullCancelled: a client that goes away ends the download at once.
func TestPullCancelled(t *testing.T) {
	n, _ := pullNode(t)
	r := newRegistry(t, nobody)
	image := pullable(t, testimage.Zstd, "text")
	id, _ := r.push(t, "app:v1", image)
	config, err := image.ConfigJSON()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(n.ctx())
	defer cancel()
	h := r.hold(config)
	failed := make(chan error)
	go func() {
		_, err := n.pull(ctx, r.address+"/app:v1", nil)
		failed <- err
	}()
	h.reached.comes(t)
	cancel()
	n.fails(<-failed, codes.Canceled)
	h.gone.comes(t) // long before it counts as stalled
	n.onlyLayers(0)
	r.letGo()
	if got, err := n.pull(n.ctx(), r.address+"/app:v1", nil); err != nil || got != id {
		t.Errorf("again: %q, %v", got, err)
	}
	n.runs(id, "text")
}

// TestPullKilled: podlet is killed in the middle of a pull, with some layers complete and others not. The next podlet has no debris of it, and pulls.
func TestPullKilled(t *testing.T) {
	n, _ := pullNode(t)
	r := newRegistry(t, nobody)
	image := pullable(t, testimage.Gzip, "text")
	id, _ := r.push(t, "app:v1", image)
	config, err := image.ConfigJSON()
	if err != nil {
		t.Fatal(err)
	}
	whole := [][]byte{config}
	for _, l := range image.Layers[1:] {
		blob, err := l.Blob()
		if err != nil {
			t.Fatal(err)
		}
		whole = append(whole, blob)
	}
	h := r.hold(whole...)
	failed := make(chan error)
	go func() {
		_, err := n.pull(n.ctx(), r.address+"/app:v1", nil)
		failed <- err
	}()
	h.reached.comes(t)
	n.soon("the other layers complete", func() bool {
		all, _ := filepath.Glob(filepath.Join(n.dir, "root/images/layers/*"))
		return len(all) == len(image.Layers)-1
	})
	n.kill()
	if err := <-failed; err == nil {
		t.Error("the pull of a podlet that was killed succeeded")
	}
	h.gone.comes(t)
	n.start()
	if list := n.listImages(); len(list) != 0 {
		t.Errorf("after the kill there are images: %v", list)
	}
	n.onlyLayers(0)
	r.letGo()
	if got, err := n.pull(n.ctx(), r.address+"/app:v1", nil); err != nil || got != id {
		t.Errorf("again: %q, %v", got, err)
	}
	n.onlyLayers(len(image.Layers))
	n.runs(id, "text")
}

// TestPullStalls: --pull-window and --pull-min-rate say when a pull has no progress.
func TestPullStalls(t *testing.T) {
	n := &node{t: t, dir: t.TempDir(), flags: []string{"--pull-window", "1s", "--pull-min-rate", "1000000"}}
	n.start()
	t.Cleanup(n.end)
	r := newRegistry(t, nobody)
	image := pullable(t, testimage.Gzip, "text")
	r.push(t, "app:v1", image)
	config, err := image.ConfigJSON()
	if err != nil {
		t.Fatal(err)
	}
	r.hold(config)
	_, err = n.pull(n.ctx(), r.address+"/app:v1", nil)
	n.fails(err, codes.DeadlineExceeded)
	if err != nil && !contains(err.Error(), "want 1000000") {
		t.Error(err)
	}
	n.onlyLayers(0)
}
