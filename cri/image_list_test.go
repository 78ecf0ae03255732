package cri

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/hack/testimages/testimage"
	"podlet/internal/image"
)

// TestListImagesStrangeUser: an image whose USER is nobody's is refused where its user matters, and hides neither itself nor others from ListImages: a kubelet collects what it sees listed.
func TestListImagesStrangeUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("unpacking layers needs root")
	}
	dir := t.TempDir()
	store, err := image.Open(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	s := &Server{Images: store, Log: slog.New(slog.DiscardHandler)}
	for name, user := range map[string]string{"good": "1234", "bad": "4294967296"} {
		layer, err := testimage.NewTree().File("f", 0o644, name).Layer(testimage.Gzip)
		if err != nil {
			t.Fatal(err)
		}
		made := testimage.Image{Names: []string{"podlet.test/" + name + ":v1"}, Layers: []testimage.Layer{layer}, Config: testimage.Config{User: user}}
		if err := made.WriteLayout(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Import(context.Background(), filepath.Join(dir, name), image.ImportOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	all, err := s.ListImages(context.Background(), &cri.ListImagesRequest{})
	if err != nil || len(all.GetImages()) != 2 {
		t.Errorf("all: %v, %v", all, err)
	}
	for _, i := range all.GetImages() {
		if bad := i.RepoTags[0] == "podlet.test/bad:v1"; bad && (i.Uid != nil || i.Username != "") || !bad && i.Uid.GetValue() != 1234 {
			t.Errorf("%v", i)
		}
	}
	spec := &cri.ImageSpec{Image: "podlet.test/bad:v1"}
	one, err := s.ListImages(context.Background(), &cri.ListImagesRequest{Filter: &cri.ImageFilter{Image: spec}})
	if err != nil || len(one.GetImages()) != 1 {
		t.Errorf("by name: %v, %v", one, err)
	}
	if _, err := s.ImageStatus(context.Background(), &cri.ImageStatusRequest{Image: spec}); status.Code(statusOf(err)) != codes.InvalidArgument {
		t.Errorf("its status: %v", err)
	}
}
