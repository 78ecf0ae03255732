package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/hack/testimages/testimage"
	"podlet/internal/image"
)

// imageCmd runs "podlet image" on the node's directories, whether a podlet serves there or not, with stdin as its standard input.
func (n *node) imageCmd(stdin []byte, args ...string) (stdout, stderr string, status int) {
	n.t.Helper()
	return podletEnds(n.t, stdin, append([]string{"image", "--root", n.dir + "/root", "--state", n.dir + "/state"}, args...)...)
}

// imageOK is imageCmd for what must succeed.
func (n *node) imageOK(args ...string) string {
	n.t.Helper()
	out, problems, status := n.imageCmd(nil, args...)
	if status != 0 {
		n.t.Fatalf("podlet image %q: status %d\n%s%s", args, status, out, problems)
	}
	return out
}

// nothingWrong has a deep check say that there is nothing wrong, or orphaned, with so many images.
func (n *node) nothingWrong(images int) {
	n.t.Helper()
	var r image.CheckReport
	out := n.imageOK("check", "--deep", "-o", "json")
	if err := json.Unmarshal([]byte(out), &r); err != nil || len(r.Findings) != 0 || r.Images != images {
		n.t.Errorf("check: %v\n%s", err, out)
	}
}

// TestImageCommands: every command does the same by itself as it does by a podlet that serves.
func TestImageCommands(t *testing.T) {
	app := testimage.Image{Names: []string{"podlet.test/app:v1", "podlet.test/app:latest"}, Config: testimage.Config{
		User: "1000", Entrypoint: []string{"/app", "an argument"}, Labels: map[string]string{"evil": "\x1b[2J"}, Volumes: map[string]struct{}{"/data": {}},
	}}
	for _, text := range []string{"one", "two"} {
		layer, err := testimage.NewTree().File(text, 0o644, text).Layer(testimage.Gzip)
		if err != nil {
			t.Fatal(err)
		}
		app.Layers = append(app.Layers, layer)
	}
	id, err := app.ID()
	if err != nil {
		t.Fatal(err)
	}
	layout := filepath.Join(t.TempDir(), "layout")
	if err := app.WriteLayout(layout); err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, dir: t.TempDir()}
	for _, served := range []bool{false, true} {
		if served {
			n.start()
			t.Cleanup(n.end)
		}
		commandsOn(t, n, id, layout, served)
	}
}

func commandsOn(t *testing.T, n *node, id, layout string, served bool) {
	_, told, status := n.imageCmd(nil, "import", layout)
	if status != 0 || strings.Count(told, "layer ") != 2 {
		t.Fatalf("import: status %d, progress %q", status, told)
	}
	for _, args := range [][]string{{"list"}, {"inspect", id[len("sha256:"):][:12]}} {
		if out := n.imageOK(args...); !contains(out, "podlet.test/app:v1") || !contains(out, "podlet.test/app:latest") || !contains(out, id[len("sha256:"):][:12]) || contains(out, "\x1b") {
			t.Errorf("%q:\n%s", args, out)
		}
	}
	var list []image.Image
	if err := json.Unmarshal([]byte(n.imageOK("list", "-o", "json")), &list); err != nil || len(list) != 1 || list[0].ID.String() != id {
		t.Errorf("list as JSON: %v, %v", list, err)
	}
	var details []image.Details
	if err := json.Unmarshal([]byte(n.imageOK("inspect", "-o", "json", "podlet.test/app")), &details); err != nil || len(details) != 1 || len(details[0].Layers) != 2 || details[0].Config.User != "1000" {
		t.Errorf("inspect as JSON: %+v, %v", details, err)
	}
	n.nothingWrong(1)

	dir := t.TempDir()
	n.imageOK("export", dir+"/app.tar", "podlet.test/app:v1")
	n.imageOK("export", "--compress", "zstd", dir+"/layout/", "podlet.test/app")
	stream, _, _ := n.imageCmd(nil, "export", "-", "podlet.test/app:v1")
	whole, err := os.ReadFile(dir + "/app.tar")
	if err != nil || !bytes.Equal(whole, []byte(stream)) {
		t.Errorf("an export to a file has %d bytes (%v), one to standard output %d", len(whole), err, len(stream))
	}
	if left, _ := filepath.Glob(dir + "/.*"); len(left) != 0 {
		t.Errorf("left beside the tar: %q", left)
	}
	if out := n.imageOK("remove", "podlet.test/app:v1"); !contains(out, id) {
		t.Errorf("remove: %q", out)
	}
	if out := n.imageOK("list", "-o", "json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("after the removal: %s", out)
	}
	n.imageOK("import", dir+"/layout")
	if out, problems, status := n.imageCmd(whole, "import", "-q", "-"); status != 0 || problems != "" || out != id+"  podlet.test/app:latest\n" && out != id+"  podlet.test/app:v1\n" {
		t.Errorf("import from standard input: %d %q %q", status, out, problems)
	}
	if out := n.imageOK("inspect", id); !contains(out, "podlet.test/app:v1") || !contains(out, "podlet.test/app:latest") {
		t.Errorf("imported again:\n%s", out)
	}
	n.nothingWrong(1)
	if served {
		refusedCommands(n, dir)
	}
	// Only a podlet that serves knows what is in use.
	out, problems, status := n.imageCmd(nil, "prune")
	if served && (status != 0 || !contains(out, "1 images removed")) || !served && (status != 1 || !contains(problems, "not known yet")) {
		t.Errorf("prune: status %d, %q %q", status, out, problems)
	}
	n.imageCmd(nil, "remove", id)
}

// refusedCommands are commands that must fail and say why. dir has an exported layout.
func refusedCommands(n *node, dir string) {
	n.t.Helper()
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"import", dir + "/none"}, "no such file"},
		{[]string{"import", "/dev/null"}, "neither a directory nor a regular file"},
		{[]string{"export", dir + "/x.tar", "podlet.test/none"}, "not found"},
		{[]string{"export", "-", "podlet.test/none"}, "not found"},
		{[]string{"export", "--compress", "xz", dir + "/x.tar", "podlet.test/app"}, "compression"},
		{[]string{"export", dir + "/layout", "podlet.test/app"}, "not empty"},
		{[]string{"inspect", "podlet.test/none"}, "not found"},
		{[]string{"remove", "podlet.test/none"}, "not found"},
		{[]string{"list", "-o", "yaml"}, "want table or json"},
	} {
		if _, problems, status := n.imageCmd(nil, c.args...); status != 1 || !contains(problems, c.says) {
			n.t.Errorf("%q: status %d, %q", c.args, status, problems)
		}
	}
	if _, err := os.Stat(dir + "/x.tar"); err == nil {
		n.t.Error("an export that failed left a tar")
	}
}

// TestImageCheckCommand: damage is named, with the images that it concerns, and the exit status says so; a repair mends it, and what a container uses it keeps.
func TestImageCheckCommand(t *testing.T) {
	n := newNode(t)
	p := n.newPod()
	c := p.create(container("app", "true"))
	layers, err := filepath.Glob(n.dir + "/root/images/layers/*/diff/bin/busybox")
	if err != nil || len(layers) == 0 {
		t.Fatalf("%q, %v", layers, err)
	}
	for _, busybox := range layers {
		if err := os.Truncate(busybox, 0); err != nil {
			t.Fatal(err)
		}
	}
	out, _, status := n.imageCmd(nil, "check")
	if status != 2 || !contains(out, "damaged: layer sha256:") || !contains(out, `"bin/busybox" has 0 bytes`) || !contains(out, "podlet.test/busybox:latest") {
		t.Errorf("status %d\n%s", status, out)
	}
	out, _, status = n.imageCmd(nil, "check", "--repair")
	if status != 2 || !contains(out, "[kept: a container uses image") {
		t.Errorf("repair of what is used: status %d\n%s", status, out)
	}
	n.terminate()
	out, _, status = n.imageCmd(nil, "check", "--repair")
	if status != 2 || !contains(out, "[kept: there are containers") {
		t.Errorf("repair of what is used while no podlet serves: status %d\n%s", status, out)
	}
	n.start()
	if _, err := n.RemoveContainer(n.ctx(), &cri.RemoveContainerRequest{ContainerId: c}); err != nil {
		t.Fatal(err)
	}
	n.imageOK("check", "--repair")
	if s := n.imageStatus("podlet.test/busybox"); s != nil {
		t.Errorf("the image that was thrown away: %v", s)
	}
	n.imageOK("import", testimage.Busybox(t))
	if out := p.output(container("again", "echo", "works")); out != "works\n" {
		t.Errorf("%q", out)
	}
	if out := n.imageOK("check", "--deep"); !contains(out, "nothing wrong") {
		t.Errorf("in the end:\n%s", out)
	}
}

// TestImportDir: the archives of the directory are imported at start, each once, pinned; one that can't be is told in the log and keeps nobody from starting.
func TestImportDir(t *testing.T) {
	n := &node{t: t, dir: t.TempDir()}
	dir := filepath.Join(n.dir, "import")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name string, i testimage.Image) {
		var tar bytes.Buffer
		if err := testimage.WriteDockerArchive(&tar, i); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), tar.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a, b := pullable(t, testimage.None, "a"), pullable(t, testimage.None, "b")
	a.Names, b.Names = []string{"podlet.test/a:1"}, []string{"podlet.test/b:1"}
	write("a.tar", a)
	if err := os.WriteFile(filepath.Join(dir, "0-broken.tar"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.flags = []string{"--import-dir", dir, "--pinned-images", "podlet.test/b*,busybox"}
	n.start()
	t.Cleanup(n.end)
	pinned := func(names ...string) {
		t.Helper()
		n.soon("images of the import directory", func() bool {
			var found []string
			for _, i := range n.listImages() {
				if i.Pinned {
					found = append(found, i.RepoTags...)
				}
			}
			slices.Sort(found)
			return slices.Equal(found, names)
		})
	}
	pinned("podlet.test/a:1")
	n.soon("the log names the broken archive", func() bool { return contains(n.log(), "0-broken.tar") })
	n.terminate()
	// What was imported is not read again: it could not be. What is new is.
	if err := os.Chtimes(filepath.Join(dir, "a.tar"), testimage.Time, testimage.Time); err != nil {
		t.Fatal(err)
	}
	n.start()
	pinned("podlet.test/a:1")
	n.terminate()
	corrupt(t, filepath.Join(dir, "a.tar"))
	write("b.tar", b)
	n.start()
	pinned("podlet.test/a:1", "podlet.test/b:1")
	if text := n.log(); strings.Contains(text, "a.tar error") {
		t.Errorf("what was imported was read again")
	}
	// Pinned is a recommendation: who asks for the removal gets it. The next start has the image again.
	n.removeImage("podlet.test/b:1")
	if s := n.imageStatus("podlet.test/b:1"); s != nil {
		t.Errorf("after its removal: %v", s)
	}
	n.terminate()
	n.start()
	pinned("podlet.test/a:1", "podlet.test/b:1")
	n.nothingWrong(2)
	_, err := n.pull(n.ctx(), "NO", nil)
	n.fails(err, codes.InvalidArgument)
}

// corrupt changes a file's bytes, and neither its size nor its time.
func corrupt(t *testing.T, file string) {
	t.Helper()
	fi, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.Repeat([]byte{1}, int(fi.Size())), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(file, fi.ModTime(), fi.ModTime()); err != nil {
		t.Fatal(err)
	}
}
