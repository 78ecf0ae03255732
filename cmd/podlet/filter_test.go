package main

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func labelled(key, value string) func(*cri.PodSandboxConfig) {
	return func(c *cri.PodSandboxConfig) {
		if c.Labels == nil {
			c.Labels = map[string]string{}
		}
		c.Labels[key] = value
	}
}

func TestPodFilters(t *testing.T) {
	n := commonNode(t)
	a := n.newPod(labelled("app", "web"), labelled("tier", "1"))
	b := n.newPod(labelled("app", "web"), labelled("tier", "2"))
	c := n.newPod()
	if _, err := n.StopPodSandbox(n.ctx(), &cri.StopPodSandboxRequest{PodSandboxId: b.id}); err != nil {
		t.Fatal(err)
	}
	names := map[string]string{a.id: "a", b.id: "b", c.id: "c"}
	ready, notReady := &cri.PodSandboxStateValue{State: cri.PodSandboxState_SANDBOX_READY}, &cri.PodSandboxStateValue{State: cri.PodSandboxState_SANDBOX_NOTREADY}
	for _, f := range []struct {
		what   string
		filter *cri.PodSandboxFilter
		want   string
	}{
		{"none", nil, "c b a"},
		{"empty", &cri.PodSandboxFilter{}, "c b a"},
		{"id", &cri.PodSandboxFilter{Id: a.id}, "a"},
		{"beginning of an id", &cri.PodSandboxFilter{Id: a.id[:13]}, "a"},
		{"end of an id", &cri.PodSandboxFilter{Id: a.id[1:]}, ""},
		{"ready", &cri.PodSandboxFilter{State: ready}, "c a"},
		{"not ready", &cri.PodSandboxFilter{State: notReady}, "b"},
		{"unknown state", &cri.PodSandboxFilter{State: &cri.PodSandboxStateValue{State: 9}}, ""},
		{"label", &cri.PodSandboxFilter{LabelSelector: map[string]string{"app": "web"}}, "b a"},
		{"labels", &cri.PodSandboxFilter{LabelSelector: map[string]string{"app": "web", "tier": "2"}}, "b"},
		{"other value", &cri.PodSandboxFilter{LabelSelector: map[string]string{"app": "we"}}, ""},
		{"absent label", &cri.PodSandboxFilter{LabelSelector: map[string]string{"none": ""}}, ""},
		{"all of it", &cri.PodSandboxFilter{Id: a.id, State: ready, LabelSelector: map[string]string{"app": "web"}}, "a"},
		{"all but the state", &cri.PodSandboxFilter{Id: a.id, State: notReady, LabelSelector: map[string]string{"app": "web"}}, ""},
	} {
		r, err := n.ListPodSandbox(n.ctx(), &cri.ListPodSandboxRequest{Filter: f.filter})
		if err != nil {
			t.Fatal(err)
		}
		streamed := []*cri.PodSandbox{}
		s, err := n.StreamPodSandboxes(n.ctx(), &cri.StreamPodSandboxesRequest{Filter: f.filter})
		if err != nil {
			t.Fatal(err)
		}
		drain(t, s.Recv, func(r *cri.StreamPodSandboxesResponse) { streamed = append(streamed, r.PodSandboxes...) })
		for how, list := range map[string][]*cri.PodSandbox{"list": r.Items, "stream": streamed} {
			var got []string
			for _, item := range list {
				got = append(got, names[item.Id])
			}
			if strings.Join(got, " ") != f.want {
				t.Errorf("%s by %s: %v, want %s", how, f.what, got, f.want)
			}
		}
	}
}

// drain takes all that a stream has.
func drain[T any](t *testing.T, next func() (T, error), each func(T)) {
	t.Helper()
	for {
		r, err := next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		each(r)
	}
}

func TestContainerFilters(t *testing.T) {
	n := commonNode(t)
	p, q := n.newPod(), n.newPod()
	create := func(p *testPod, name string, labels map[string]string) string {
		c := container(name, "sleep", "1000")
		c.Labels = labels
		return p.create(c)
	}
	a := create(p, "a", map[string]string{"app": "web", "tier": "1"})
	b := create(p, "b", map[string]string{"app": "web"})
	c := create(q, "c", nil)
	for _, id := range []string{b, c} {
		if err := n.tryStart(id); err != nil {
			t.Fatal(err)
		}
	}
	n.stop(c, 0)
	names := map[string]string{a: "a", b: "b", c: "c"}
	state := func(s cri.ContainerState) *cri.ContainerStateValue { return &cri.ContainerStateValue{State: s} }
	for _, f := range []struct {
		what   string
		filter *cri.ContainerFilter
		want   string
	}{
		{"none", nil, "c b a"},
		{"id", &cri.ContainerFilter{Id: b}, "b"},
		{"beginning of an id", &cri.ContainerFilter{Id: b[:13]}, "b"},
		{"pod", &cri.ContainerFilter{PodSandboxId: p.id}, "b a"},
		{"beginning of a pod's id", &cri.ContainerFilter{PodSandboxId: q.id[:13]}, "c"},
		{"created", &cri.ContainerFilter{State: state(cri.ContainerState_CONTAINER_CREATED)}, "a"},
		{"running", &cri.ContainerFilter{State: state(cri.ContainerState_CONTAINER_RUNNING)}, "b"},
		{"exited", &cri.ContainerFilter{State: state(cri.ContainerState_CONTAINER_EXITED)}, "c"},
		{"unknown", &cri.ContainerFilter{State: state(cri.ContainerState_CONTAINER_UNKNOWN)}, ""},
		{"label", &cri.ContainerFilter{LabelSelector: map[string]string{"app": "web"}}, "b a"},
		{"labels", &cri.ContainerFilter{LabelSelector: map[string]string{"app": "web", "tier": "1"}}, "a"},
		{"id and pod", &cri.ContainerFilter{Id: b, PodSandboxId: p.id}, "b"},
		{"id and another pod", &cri.ContainerFilter{Id: b, PodSandboxId: q.id}, ""},
	} {
		r, err := n.ListContainers(n.ctx(), &cri.ListContainersRequest{Filter: f.filter})
		if err != nil {
			t.Fatal(err)
		}
		streamed := []*cri.Container{}
		s, err := n.StreamContainers(n.ctx(), &cri.StreamContainersRequest{Filter: f.filter})
		if err != nil {
			t.Fatal(err)
		}
		drain(t, s.Recv, func(r *cri.StreamContainersResponse) { streamed = append(streamed, r.Containers...) })
		for how, list := range map[string][]*cri.Container{"list": r.Containers, "stream": streamed} {
			var got []string
			for _, item := range list {
				got = append(got, names[item.Id])
			}
			if strings.Join(got, " ") != f.want {
				t.Errorf("%s by %s: %v, want %s", how, f.what, got, f.want)
			}
		}
	}
}

// TestImages lists, describes and removes images by all their names.
func TestImages(t *testing.T) {
	n := newNode(t)
	list := func() (tags []string) {
		r, err := n.images.ListImages(n.ctx(), &cri.ListImagesRequest{})
		if err != nil {
			t.Fatal(err)
		}
		streamed := 0
		s, err := n.images.StreamImages(n.ctx(), &cri.StreamImagesRequest{})
		if err != nil {
			t.Fatal(err)
		}
		drain(t, s.Recv, func(r *cri.StreamImagesResponse) { streamed += len(r.Images) })
		if streamed != len(r.Images) {
			t.Errorf("%d images in a stream, %d in a list", streamed, len(r.Images))
		}
		for _, i := range r.Images {
			tags = append(tags, i.RepoTags...)
		}
		slices.Sort(tags)
		return tags
	}
	if got := list(); !slices.Equal(got, []string{busybox, scratch, tools}) {
		t.Errorf("images %v", got)
	}
	r, err := n.images.ImageStatus(n.ctx(), &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: scratch}, Verbose: true})
	if err != nil {
		t.Fatal(err)
	}
	i := r.Image
	if i.Id == "" || i.Size == 0 || i.GetUid().GetValue() != 1234 || i.Username != "" || len(i.RepoDigests) != 1 || r.Info["info"] == "" {
		t.Errorf("status %v", r)
	}
	for _, name := range []string{i.Id, strings.TrimPrefix(i.Id, "sha256:"), i.RepoDigests[0], scratch, strings.TrimSuffix(scratch, ":latest")} {
		r, err := n.images.ImageStatus(n.ctx(), &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: name}})
		if err != nil || r.GetImage().GetId() != i.Id {
			t.Errorf("status by %s: %v, %v", name, r, err)
		}
		l, err := n.images.ListImages(n.ctx(), &cri.ListImagesRequest{Filter: &cri.ImageFilter{Image: &cri.ImageSpec{Image: name}}})
		if err != nil || len(l.GetImages()) != 1 || l.Images[0].Id != i.Id {
			t.Errorf("list by %s: %v, %v", name, l, err)
		}
	}
	for _, name := range []string{"podlet.test/none", "sha256:" + strings.Repeat("0", 64)} {
		r, err := n.images.ImageStatus(n.ctx(), &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: name}})
		if err != nil || r.Image != nil {
			t.Errorf("status of what is not there: %v, %v", r, err)
		}
		if _, err := n.images.RemoveImage(n.ctx(), &cri.RemoveImageRequest{Image: &cri.ImageSpec{Image: name}}); err != nil {
			t.Errorf("removal of what is not there: %v", err)
		}
	}
	// A container keeps what it runs from.
	p := n.newPod()
	config := container("app", "/probe", "sleep")
	config.Image.Image = i.RepoDigests[0]
	c := p.create(config)
	for range 2 {
		if _, err := n.images.RemoveImage(n.ctx(), &cri.RemoveImageRequest{Image: &cri.ImageSpec{Image: scratch}}); err != nil {
			t.Fatal(err)
		}
	}
	if got := list(); !slices.Equal(got, []string{busybox, tools}) {
		t.Errorf("images %v", got)
	}
	if err := n.tryStart(c); err != nil {
		t.Errorf("start from an image removed meanwhile: %v", err)
	}
	f, err := n.images.ImageFsInfo(n.ctx(), &cri.ImageFsInfoRequest{})
	if err != nil || len(f.ImageFilesystems) != 1 {
		t.Fatalf("%v, %v", f, err)
	}
	fs := f.ImageFilesystems[0]
	if !strings.HasPrefix(fs.FsId.Mountpoint, n.dir) || fs.UsedBytes.Value == 0 || fs.InodesUsed.Value == 0 || fs.Timestamp == 0 {
		t.Errorf("%v", fs)
	}
}
