package image

import (
	"context"
	"os"
	"testing"

	"podlet/hack/testimages/testimage"
)

func TestImportBusybox(t *testing.T) {
	s := newStore(t)
	images, err := s.Import(context.Background(), testimage.Busybox(t), ImportOptions{})
	must(t, err)
	got, err := s.Get(testimage.BusyboxName)
	must(t, err)
	if got.ID != images[0].ID || len(got.LayerDirs()) != 2 {
		t.Fatalf("%+v", got)
	}
	if _, err := os.Lstat(got.LayerDirs()[1] + "/bin/sh"); err != nil {
		t.Fatal(err)
	}
	u, err := s.Users(got.ID)
	must(t, err)
	id, err := u.Resolve(UserRequest{ImageUser: "app"})
	must(t, err)
	t.Logf("%+v %+v", id, s.FsInfo())
}
