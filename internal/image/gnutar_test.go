package image

import (
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"podlet/hack/testimages/testimage"
	"podlet/hack/tree"
	"podlet/internal/mount"
)

var roundTrip = flag.String("roundtrip", "", "TestRoundTrip: the `directory` whose tree is packed, such as debootstrap makes; empty: one of this machine's files")

// TestLikeGNUTar packs a tree of every kind with GNU tar in each of its formats and holds what unpack makes of it to what GNU tar itself does.
func TestLikeGNUTar(t *testing.T) {
	source := makeTree(t)
	for _, format := range []string{"gnu", "posix", "oldgnu"} {
		for _, sparse := range []string{"", "--sparse"} {
			t.Run(format+sparse, func(t *testing.T) {
				args := []string{"--format=" + format}
				if format == "posix" {
					args = append(args, withXattrs...)
				}
				if sparse != "" {
					args = append(args, sparse)
				}
				packed := gnuTar(t, nil, append(args, "-C", source, "-c", ".")...)
				want := unpackedByGNUTar(t, packed)
				got, size, err := unpackTo(t, bytes.NewReader(packed))
				must(t, err)
				sameTree(t, want, got)
				checkSize(t, got, size)
			})
		}
	}
}

// makeTree makes a tree with every kind of file.
func makeTree(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	must(t, tree.Make(root))
	return root
}

var withXattrs = []string{"--xattrs", "--xattrs-include=*"}

// gnuTar runs GNU tar as everything here wants it.
func gnuTar(t testing.TB, stdin io.Reader, args ...string) []byte {
	t.Helper()
	binary, err := exec.LookPath("tar")
	if err != nil {
		t.Skip("needs GNU tar: apt-get install tar")
	}
	cmd := exec.CommandContext(context.Background(), binary, append([]string{"--numeric-owner", "-p"}, args...)...)
	var said bytes.Buffer
	cmd.Stdin, cmd.Stderr = stdin, &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tar %q: %v\n%s", args, err, said.String())
	}
	return out
}

func unpackedByGNUTar(t testing.TB, packed []byte) string {
	t.Helper()
	root := t.TempDir()
	must(t, os.Chmod(root, 0o755))
	gnuTar(t, bytes.NewReader(packed), append(withXattrs, "-C", root, "-x")...)
	return root
}

func describe(t testing.TB, root string) string {
	t.Helper()
	text, err := tree.Describe(root)
	must(t, err)
	return text
}

func sameTree(t testing.TB, want, got string) {
	t.Helper()
	if d := tree.Differ("GNU tar's", describe(t, want), "podlet's", describe(t, got)); d != "" {
		t.Error(d)
	}
}

// TestRoundTrip packs a system's tree with GNU tar, changes it twice as a builder does, and holds what a container sees of the three layers to what GNU tar makes of the same
// changes: file by file, on the node and as a pod with a user namespace sees it. -roundtrip=DIR takes another tree than the made-up one.
func TestRoundTrip(t *testing.T) {
	source := *roundTrip
	if source == "" {
		source = t.TempDir()
		makeSystem(t, source)
	}
	first := gnuTar(t, nil, append([]string{"--format=posix", "-C", source, "-c", "."}, withXattrs...)...)
	want := unpackedByGNUTar(t, first)
	second, third := changedTwice(t, want)

	s := newStore(t)
	image := importImage(t, s, testimage.Image{Names: []string{"podlet.test/system:1"}, Layers: []testimage.Layer{
		{Tar: first, Compression: testimage.Gzip}, {Tar: second, Compression: testimage.Zstd}, {Tar: third},
	}})
	m, err := mount.New(t.TempDir(), mount.WayAuto)
	must(t, err)
	defer m.Close()
	root, err := m.Overlay(mount.OverlayConfig{Lower: image.LayerDirs(), ReadOnly: true})
	must(t, err)
	defer root.Close()
	sameTree(t, want, procFD(int(root.Fd()))+"/.")
	t.Run("user namespace", func(t *testing.T) { sameInUserNamespace(t, m, image, want) })
}

// changedTwice applies two layers' changes to the tree and gives the layers: what is new or differs by itself, what is gone as whiteouts.
func changedTwice(t testing.TB, root string) (second, third []byte) {
	t.Helper()
	at := func(name string) string { return filepath.Join(root, name) }
	names, err := os.ReadDir(at("usr/bin"))
	must(t, err)
	layer := func(changed []string, gone ...string) []byte {
		marks := t.TempDir()
		for _, name := range gone {
			must(t, os.MkdirAll(filepath.Join(marks, filepath.Dir(name)), 0o755))
			must(t, os.WriteFile(filepath.Join(marks, name), nil, 0o644))
		}
		args := append([]string{"--format=posix", "--no-recursion", "-c"}, withXattrs...)
		args = append(append(args, "-C", root), changed...)
		return gnuTar(t, nil, append(append(args, "-C", marks), gone...)...)
	}

	// The second: a program is gone, another one has a new mode, /etc is begun anew, a directory becomes a file, a file a directory.
	gone := "usr/bin/" + names[0].Name()
	other := "usr/bin/" + names[len(names)-1].Name()
	must(t, os.Remove(at(gone)))
	must(t, os.RemoveAll(at(other)))
	must(t, os.Mkdir(at(other), 0o750))
	must(t, os.WriteFile(at(other+"/inside"), []byte("a directory now"), 0o600))
	must(t, os.RemoveAll(at("etc")))
	must(t, os.Mkdir(at("etc"), 0o711))
	must(t, os.WriteFile(at("etc/hostname"), []byte("anew\n"), 0o640))
	must(t, os.RemoveAll(at("var")))
	must(t, os.WriteFile(at("var"), []byte("a file now"), 0o4755))
	second = layer([]string{".", "usr", "usr/bin", other, other + "/inside", "etc", "etc/hostname", "var"},
		"usr/bin/.wh."+filepath.Base(gone), "etc/.wh..wh..opq")

	// The third takes some of it back, and a whole tree away.
	must(t, os.WriteFile(at(gone), []byte("back again"), 0o755))
	must(t, os.RemoveAll(at(other)))
	must(t, os.RemoveAll(at("usr/lib")))
	must(t, os.Remove(at("var")))
	must(t, os.Mkdir(at("var"), 0o755))
	must(t, os.Symlink("../run", at("var/run")))
	third = layer([]string{".", "usr", "usr/bin", gone, "var", "var/run"}, "usr/.wh.lib", "usr/bin/.wh."+filepath.Base(other))
	return second, third
}

// sameInUserNamespace looks at the image as the root of a user namespace does whose ids are others on the node.
func sameInUserNamespace(t *testing.T, m *mount.Mounter, image Image, want string) {
	features, err := m.Features()
	must(t, err)
	if !features.IDMappedLayers {
		t.Skip("needs overlayfs over idmapped lower layers, Linux 5.19")
	}
	ids := []mount.IDMapping{{HostID: 1 << 20, Length: 1 << 16}}
	user, err := m.UserNS(ids, ids)
	must(t, err)
	defer user.Close()
	root, err := m.Overlay(mount.OverlayConfig{Lower: image.LayerDirs(), ReadOnly: true, UserNS: user})
	must(t, err)
	defer root.Close()
	// The namespace's root must be able to execute it: the build's directory is closed to others.
	self, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	exe := filepath.Join(t.TempDir(), "test")
	must(t, os.WriteFile(exe, self, 0o755))
	for dir := filepath.Dir(exe); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755))
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), roleEnv+"=describe")
	cmd.ExtraFiles = []*os.File{root}
	mapping := []syscall.SysProcIDMap{{HostID: 1 << 20, Size: 1 << 16}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER, UidMappings: mapping, GidMappings: mapping, GidMappingsEnableSetgroups: true, Credential: &syscall.Credential{},
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	got, err := cmd.Output()
	if err != nil {
		t.Fatalf("describe the tree in the namespace: %v\n%s", err, said.String())
	}
	if d := tree.Differ("GNU tar's", describe(t, want), "the pod's", string(got)); d != "" {
		t.Error(d)
	}
}

// describeRole describes the tree at fd 3.
func describeRole() int {
	text, err := tree.Describe("/proc/self/fd/3/.")
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		return 1
	}
	os.Stdout.WriteString(text)
	return 0
}

// makeSystem fills root with what a system has, of this machine's own files, and with every kind of file beside.
func makeSystem(t testing.TB, root string) {
	t.Helper()
	names := []string{"etc", "var/spool"}
	for _, dir := range []string{"usr/bin", "usr/sbin"} {
		programs, err := os.ReadDir("/" + dir)
		must(t, err)
		for _, p := range programs[:min(100, len(programs))] {
			if info, err := p.Info(); err == nil && info.Size() < 256<<10 {
				names = append(names, dir+"/"+p.Name())
			}
		}
	}
	packed := gnuTar(t, nil, append(append([]string{"-C", "/", "-c"}, withXattrs...), names...)...)
	gnuTar(t, bytes.NewReader(packed), append(withXattrs, "-C", root, "-x")...)
	for _, name := range []string{"odd", "usr/lib"} {
		must(t, os.MkdirAll(filepath.Join(root, name), 0o755))
		must(t, tree.Make(filepath.Join(root, name)))
	}
}
