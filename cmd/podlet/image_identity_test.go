package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/hack/testimages/testimage"
)

// TestImageIdentity: an image that was pulled and imported under several names is one image with all of them, and everybody calls it by the digest of its config: PullImage, ImageStatus by
// whatever reference, ListImages, and the containers made by each reference.
func TestImageIdentity(t *testing.T) {
	n, _ := pullNode(t)
	r := newRegistry(t, nobody)
	app := pullable(t, testimage.Gzip, "v1")
	app.Config.User = "1234:5678"
	id, digest := r.push(t, "team/app:v1", app)
	r.push(t, "other/app:v2", app)
	for _, ref := range []string{"team/app:v1", "other/app:v2", "third/app@" + digest} {
		if got, err := n.pull(n.ctx(), r.address+"/"+ref, nil); err != nil || got != id {
			t.Fatalf("pull %s: %q, %v; want %q", ref, got, err, id)
		}
	}
	short := app
	short.Names = []string{"docker.io/library/short:latest"}
	var archive bytes.Buffer
	if err := testimage.WriteDockerArchive(&archive, short); err != nil {
		t.Fatal(err)
	}
	if out, problems, status := n.imageCmd(archive.Bytes(), "import", "-"); status != 0 {
		t.Fatalf("import: %s %s", out, problems)
	}
	tags := []string{r.address + "/team/app:v1", r.address + "/other/app:v2", "docker.io/library/short:latest"}
	digests := []string{r.address + "/team/app@" + digest, r.address + "/other/app@" + digest, r.address + "/third/app@" + digest}
	// What a kubelet or a person may call it: it completes short names itself, crictl doesn't.
	more := []string{"short", "short:latest", "docker.io/short", "index.docker.io/library/short", tags[0] + "@" + digest, id[len("sha256:"):], id[:len("sha256:")+12], id[len("sha256:"):][:12]}
	n.hasOnly(&cri.Image{Id: id, RepoTags: tags, RepoDigests: digests}, more...)
	if s := n.imageStatus(id); s.Uid.GetValue() != 1234 || s.Username != "" || s.Pinned || s.Spec.GetImage() != id {
		t.Errorf("status %v", s)
	}
	n.fsInfoIsTrue()

	p := n.newPod()
	for i, ref := range slices.Concat(tags, digests, more, []string{id}) {
		c := container(fmt.Sprint("app", i), "true")
		c.Image = &cri.ImageSpec{Image: ref, UserSpecifiedImage: "as written"}
		made := p.create(c)
		if s := n.status(made); s.ImageId != id || !slices.Contains(digests, s.ImageRef) || s.Image.GetImage() != ref || s.Image.UserSpecifiedImage != "as written" {
			t.Errorf("container of %s: %v %s %s", ref, s.Image, s.ImageRef, s.ImageId)
		}
		list, err := n.ListContainers(n.ctx(), &cri.ListContainersRequest{Filter: &cri.ContainerFilter{Id: made}})
		if err != nil || len(list.Containers) != 1 || list.Containers[0].ImageId != id {
			t.Errorf("list of the container of %s: %v, %v", ref, list, err)
		}
	}

	// A tag that moves leaves the old image its other names, and containers what they are.
	next := pullable(t, testimage.Zstd, "v2")
	nextID, nextDigest := r.push(t, "team/app:v1", next)
	if got, err := n.pull(n.ctx(), tags[0], nil); err != nil || got != nextID {
		t.Fatalf("pull the next: %q, %v", got, err)
	}
	if s := n.imageStatus(tags[0]); s.GetId() != nextID || !slices.Equal(s.RepoDigests, []string{r.address + "/team/app@" + nextDigest}) {
		t.Errorf("the tag that moved: %v", s)
	}
	if s := n.imageStatus(digests[0]); s.GetId() != id || !slices.Equal(s.RepoTags, tags[1:]) {
		t.Errorf("the image that lost a tag: %v", s)
	}
	n.fsInfoIsTrue()
}

// fsInfoIsTrue holds ImageFsInfo to what is on the disk.
func (n *node) fsInfoIsTrue() {
	n.t.Helper()
	r, err := n.images.ImageFsInfo(n.ctx(), &cri.ImageFsInfoRequest{})
	if err != nil || len(r.ImageFilesystems) != 1 {
		n.t.Fatalf("%v, %v", r, err)
	}
	var bytes, inodes uint64
	seen := map[uint64]bool{}
	err = filepath.WalkDir(filepath.Join(n.dir, "root/images/layers"), func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		if !seen[st.Ino] {
			seen[st.Ino] = true
			bytes, inodes = bytes+uint64(st.Blocks)*512, inodes+1
		}
		return nil
	})
	if err != nil {
		n.t.Fatal(err)
	}
	// Records, marks and the directories that hold them are a few for each layer, and not counted.
	info := r.ImageFilesystems[0]
	if used := info.UsedBytes.Value; used > bytes+bytes/50+64<<10 || used+used/50+256<<10 < bytes {
		n.t.Errorf("ImageFsInfo says %d bytes, and there are %d", used, bytes)
	}
	if used := info.InodesUsed.Value; used > inodes || used+100 < inodes {
		n.t.Errorf("ImageFsInfo says %d inodes, and there are %d", used, inodes)
	}
}

// TestRemoveImage: by any reference all names go at once, also a second time and of what never was; what is in use loses its names now and its files
// when its last container goes, also over a restart of podlet.
func TestRemoveImage(t *testing.T) {
	n, _ := pullNode(t)
	r := newRegistry(t, nobody)
	app := pullable(t, testimage.Gzip, "text")
	id, digest := r.push(t, "app:v1", app)
	r.push(t, "other:v2", app)
	pull := func() {
		t.Helper()
		for _, ref := range []string{"/app:v1", "/other:v2"} {
			if got, err := n.pull(n.ctx(), r.address+ref, nil); err != nil || got != id {
				t.Fatalf("pull %s: %q, %v", ref, got, err)
			}
		}
	}
	for _, ref := range []string{
		r.address + "/app:v1", r.address + "/other@" + digest, r.address + "/app:whatever@" + digest, id, id[len("sha256:"):], id[len("sha256:"):][:12],
	} {
		pull()
		for range 2 {
			n.removeImage(ref)
			if s := n.imageStatus(id); s != nil || len(n.listImages()) != 0 {
				t.Fatalf("removed by %s: %v", ref, n.listImages())
			}
		}
		n.onlyLayers(0)
	}
	n.removeImage("podlet.test/never:was")

	pull()
	p := n.newPod()
	var made []string
	for i := range 2 {
		c := container(fmt.Sprint("app", i), "cat", "/pulled")
		c.Image.Image = id
		made = append(made, p.create(c))
	}
	n.removeImage(r.address + "/other:v2")
	if len(n.listImages()) != 0 || n.imageStatus(id) != nil {
		t.Errorf("in use and removed: %v", n.listImages())
	}
	other := container("other", "true")
	other.Image.Image = r.address + "/app:v1"
	if _, err := p.tryCreate(other); err == nil {
		t.Error("a container of an image that was removed")
	}
	n.onlyLayers(len(app.Layers))
	n.remove(made[0])
	n.terminate()
	n.start()
	n.onlyLayers(len(app.Layers))
	if err := n.tryStart(made[1]); err != nil {
		t.Fatal(err)
	}
	n.exited(made[1])
	if out := n.logged(made[1]); out != "text" {
		t.Errorf("%q", out)
	}
	if s := n.status(made[1]); s.ImageId != id || !strings.HasSuffix(s.ImageRef, digest) {
		t.Errorf("its status: %s %s", s.ImageId, s.ImageRef)
	}
	n.remove(made[1])
	n.onlyLayers(0)
	n.nothingWrong(0)
}
