package image

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"podlet/hack/testimages/testimage"
)

// TestImportDir: of the archives of a directory those are read that are new, have changed, or whose images are gone. What others than podlet's user could
// have put there isn't.
func TestImportDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "import")
	must(t, os.Mkdir(dir, 0o755))
	write := func(name string, i testimage.Image) {
		t.Helper()
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
		must(t, err)
		must(t, testimage.WriteDockerArchive(f, i))
		must(t, f.Close())
	}
	write("a.tar", simple(t, "podlet.test/a:1", "a"))
	write(".hidden.tar", simple(t, "podlet.test/hidden:1", "hidden"))
	write("others.tar", simple(t, "podlet.test/others:1", "others"))
	must(t, os.Chmod(filepath.Join(dir, "others.tar"), 0o666))
	write("strangers.tar", simple(t, "podlet.test/strangers:1", "strangers"))
	must(t, os.Chown(filepath.Join(dir, "strangers.tar"), 1000, 1000))
	must(t, os.WriteFile(filepath.Join(dir, "README"), []byte("no archive"), 0o644))
	must(t, simple(t, "podlet.test/layout:1", "layout").WriteLayout(filepath.Join(dir, "layout")))
	must(t, simple(t, "podlet.test/renamed:1", "renamed").WriteLayout(filepath.Join(dir, "renamed")))
	must(t, os.Chmod(filepath.Join(dir, "renamed/index.json"), 0o666))

	s := newStore(t)
	refused := []string{"README", "others.tar", "renamed", "strangers.tar"}
	read := func(want ...string) {
		t.Helper()
		var failed, read []string
		mark := logged.mark()
		must(t, s.ImportDir(ctx, dir, func(file string, err error) { failed = append(failed, filepath.Base(file)) }))
		if !slices.Equal(failed, refused) {
			t.Errorf("failed: %q", failed)
		}
		for line := range strings.Lines(logged.since(mark)) {
			_, file, ok := strings.Cut(line, `msg="importing images"`)
			// README is tried each time.
			if name := filepath.Base(strings.TrimSpace(file)); ok && name != "README" {
				read = append(read, name)
			}
		}
		if !slices.Equal(read, want) {
			t.Errorf("read: %q, want %q", read, want)
		}
	}
	read("a.tar", "layout")
	var tags []string
	for _, i := range s.List() {
		if !i.Pinned {
			t.Errorf("%q is not pinned", i.Tags)
		}
		tags = append(tags, i.Tags...)
	}
	if slices.Sort(tags); !slices.Equal(tags, []string{"podlet.test/a:1", "podlet.test/layout:1"}) {
		t.Errorf("%q", tags)
	}
	read()
	s = reopen(t, s, "boot-1")
	read()
	write("a.tar", simple(t, "podlet.test/a:2", "changed"))
	read("a.tar")
	must(t, s.Remove("podlet.test/layout:1"))
	read("layout")
	// What remembers is lost: all is read again, and found there.
	must(t, os.WriteFile(filepath.Join(s.path, fileImported), []byte("torn"), 0o600))
	read("a.tar", "layout")
	checkStore(t, s)

	for _, c := range []func() error{
		func() error { return os.Chmod(dir, 0o777) },
		func() error { return os.Chown(dir, 1000, 0) },
	} {
		must(t, c())
		if err := s.ImportDir(ctx, dir, func(string, error) {}); err == nil || !strings.Contains(err.Error(), "writable by nobody else") {
			t.Error(err)
		}
		must(t, os.Chmod(dir, 0o755))
	}
	must(t, s.ImportDir(ctx, filepath.Join(dir, "absent"), nil))
}

// TestPinned: which names a list stands for.
func TestPinned(t *testing.T) {
	p, err := ParsePinned([]string{"busybox", "host.test/team/*", "*/exact@sha256:*", "registry.k8s.io/kube-*:v1.*"})
	must(t, err)
	for name, want := range map[string]bool{
		"docker.io/library/busybox:latest": true, "docker.io/library/busybox:1": false, "docker.io/library/busybox2:latest": false,
		"host.test/team/a/b:v1": true, "host.test/teams/a:v1": false, "xhost.test/team/a:v1": false, "x.test/exact@" + someDigest: true,
		"registry.k8s.io/kube-proxy:v1.37.0": true, "registry.k8s.io/kube-proxy:v2": false, "registryxk8s.io/kube-proxy:v1.37.0": false,
	} {
		i := Image{Tags: []string{name}}
		if strings.Contains(name, "@") {
			i = Image{Digests: []string{name}}
		}
		if p.Has(&i) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
	for _, bad := range []string{"", "UPPER", "a\nb*", strings.Repeat("a", 2000) + "*"} {
		if _, err := ParsePinned([]string{bad}); err == nil {
			t.Errorf("%s is taken", quote(bad))
		}
	}
}

// TestPrune: what nobody uses and nobody pinned goes; before it is known what is used, nothing.
func TestPrune(t *testing.T) {
	s := newStore(t)
	for _, name := range []string{"used", "pinned", "free", "untagged"} {
		importImage(t, s, simple(t, "podlet.test/"+name+":1", name))
	}
	importImage(t, s, simple(t, "podlet.test/untagged:1", "takes the tag"))
	pinned, err := ParsePinned([]string{"podlet.test/pinned:*"})
	must(t, err)
	s.SetPinned(pinned)
	_, err = s.Hold("podlet.test/used:1", "container")
	must(t, err)
	p, err := s.Prune(true)
	must(t, err)
	if len(p.Images) != 1 || len(p.Images[0].Tags) != 0 || p.Bytes == 0 || len(s.List()) != 4 {
		t.Errorf("untagged: %+v", p)
	}
	p, err = s.Prune(false)
	must(t, err)
	if len(p.Images) != 2 || len(s.List()) != 2 {
		t.Errorf("%+v", p)
	}
	for _, ref := range []string{"podlet.test/used:1", "podlet.test/pinned:1"} {
		if _, err := s.Get(ref); err != nil {
			t.Error(err)
		}
	}
	checkStore(t, s)
	closeStore(t, s)
	s, err = open(s.path, "boot-1")
	must(t, err)
	defer s.Close()
	if _, err := s.Prune(false); err != ErrNotComplete {
		t.Error(err)
	}
}
