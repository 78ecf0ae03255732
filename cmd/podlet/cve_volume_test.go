package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/hack/testimages/testimage"
)

// declares gives an image with VOLUMEs.
func declares(volumes ...string) func(*testimage.Config) {
	return func(c *testimage.Config) {
		c.Volumes = map[string]struct{}{}
		for _, v := range volumes {
			c.Volumes[v] = struct{}{}
		}
	}
}

func readOnlyRoot(c *cri.ContainerConfig) {
	security(func(s *cri.LinuxContainerSecurityContext) { s.ReadonlyRootfs = true })(c)
}

// TestImageVOLUME: a VOLUME is a directory of the container's own that has what the image has there, is made where the image has nothing, can be written though the root can't, and is
// gone with its container; a mount in its place or above it takes it over. So it is with ids of the node's and with a user namespace's.
func TestImageVOLUME(t *testing.T) {
	tree := testimage.NewTree().Dir("data", 0o755).File("data/file", 0o644, "the image's\n").Dir("data/sub", 0o700).File("data/sub/deep", 0o600, "deep\n").
		Dir("srv", 0o755).Dir("srv/real", 0o1777).Symlink("linked", "srv/real").Dir("over", 0o755).File("over/hidden", 0o644, "hidden\n")
	n := hostileNode(t, hostile(t, "volumes", tree, declares("/data", "/made/here", "linked", "/", "/proc/x", "/sys", "/dev/shm", "/etc/hosts", "/over", "/v/below")))
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	const script = `cat /data/file /data/sub/deep; stat -c '%n %a %u:%g' /data /data/sub /made/here /srv/real /linked/; ls /over
for f in /data/new /data/sub/new /made/here/new /linked/new /over/new /v/new; do echo x >$f && echo $f; done
echo changed >/data/file && cat /data/file; for f in /new /srv/new /made/new /proc/x /sys/x; do echo x 2>/dev/null >$f && echo $f; done; ls -d /v/below; true`
	for _, userNamespace := range []bool{false, true} {
		p := n.newPod()
		if userNamespace {
			p = n.newPod(sharing(userNS))
		}
		for _, readOnly := range []bool{false, true} {
			written := "/data/new\n/data/sub/new\n/made/here/new\n/linked/new\n/over/new\n/v/new\nchanged\n"
			want := "the image's\ndeep\n/data 755 0:0\n/data/sub 700 0:0\n/made/here 755 0:0\n/srv/real 1777 0:0\n/linked/ 1777 0:0\nsub\n" + written
			if !readOnly {
				want += "/new\n/srv/new\n/made/new\n"
			}
			// The second finds nothing of the first.
			for i := range 2 {
				c := of(container(fmt.Sprint("app", readOnly, i), "sh", "-c", "exec 2>/dev/null; "+script), "volumes")
				c.Mounts = []*cri.Mount{{HostPath: dir, ContainerPath: "/over"}, {HostPath: t.TempDir(), ContainerPath: "/v"}}
				if ids := p.config.GetLinux().GetSecurityContext().GetNamespaceOptions().GetUsernsOptions(); userNamespace {
					for _, m := range c.Mounts {
						m.UidMappings, m.GidMappings = ids.Uids, ids.Gids
					}
				}
				if readOnly {
					readOnlyRoot(c)
				}
				id := p.create(c)
				if err := n.tryStart(id); err != nil {
					t.Fatal(err)
				}
				s := n.exited(id)
				if out := n.logged(id); out != want {
					t.Errorf("user namespace %v, read-only %v, %d:\n%swant\n%s", userNamespace, readOnly, i, out, want)
				}
				if len(s.Mounts) != 2 {
					t.Errorf("status has mounts that nobody asked for: %v", s.Mounts)
				}
				os.Remove(dir + "/new")
				n.remove(id)
			}
		}
	}
}

// TestCVE_B6: a VOLUME reaches nothing of the node, whatever its path and the image's links say, also while another container exchanges what is in a volume that it leads
// through (CVE-2022-23648). What can't be a directory fails the start of that container.
func TestCVE_B6(t *testing.T) {
	canary := newCanary(t)
	up := strings.Repeat("../", 20)
	tree := testimage.NewTree().Symlink("absolute", canary.dir).Symlink("relative", up+canary.dir[1:]).Symlink("through", "shared/a").
		Symlink("loop", "loop").File("file", 0o644, "").Dir("shared", 0o755).Dir("shared/a", 0o755)
	images := []testimage.Image{
		hostile(t, "up", testimage.NewTree(), declares("../../etc", up+canary.dir[1:], up+canary.dir[1:]+"/sub")),
		hostile(t, "links", tree, declares("/through/below")),
	}
	for _, bad := range []string{"loop", "file", "absolute", "relative"} {
		images = append(images, hostile(t, "bad-"+bad, tree, declares(bad)))
	}
	many := make([]string, 1000)
	for i := range many {
		many[i] = fmt.Sprint("/v", i)
	}
	images = append(images, hostile(t, "many", tree, declares(many...)))
	n := hostileNode(t, images...)
	sandbox := n.sandbox("volumes")
	pod := n.run(sandbox)
	for _, readOnly := range []bool{false, true} {
		name := func(image string) string { return fmt.Sprint(image, readOnly) }
		change := func(c *cri.ContainerConfig) *cri.ContainerConfig {
			if readOnly {
				readOnlyRoot(c)
			}
			return c
		}
		c := change(of(container(name("up"), "sh", "-c", "touch /etc/new "+canary.dir+"/new "+canary.dir+"/sub/new; ls -a "+canary.dir+" "+canary.dir+"/sub"), "up"))
		if out, status := n.output(pod, sandbox, c); status != 0 || contains(out, "secret") || !contains(out, "new") {
			t.Errorf("read-only %v: above the root: %d %q", readOnly, status, out)
		}
		for _, bad := range []string{"loop", "file", "absolute", "relative"} {
			_, err := n.createAndStart(pod, sandbox, change(of(container(name(bad), "true"), "bad-"+bad)))
			if err == nil || !contains(err.Error(), "volume /"+bad) {
				t.Errorf("read-only %v: VOLUME %s: %v", readOnly, bad, err)
			}
		}
		if _, err := n.create(pod, sandbox, change(of(container(name("many"), "true"), "many"))); code(err) != "InvalidArgument" {
			t.Errorf("1000 VOLUMEs: %v", err)
		}
		n.volumesAgainstSwapper(pod, sandbox, canary.dir, readOnly)
	}
	if host := hostMountsBelow(t, canary.dir); len(host) > 0 {
		t.Errorf("mounts on the node: %v", host)
	}
}

// volumesAgainstSwapper starts containers whose VOLUME leads, by a link of the image, into a volume that another container has a link to the bait in, now and then.
func (n *node) volumesAgainstSwapper(pod string, sandbox *cri.PodSandboxConfig, bait string, readOnly bool) {
	n.t.Helper()
	shared := n.t.TempDir()
	if err := os.Mkdir(filepath.Join(shared, "a"), 0o777); err != nil {
		n.t.Fatal(err)
	}
	if err := os.Symlink(bait, filepath.Join(shared, "b")); err != nil {
		n.t.Fatal(err)
	}
	swapper := n.attack(pod, sandbox, fmt.Sprint("swapper", readOnly), "swap", nil, volume(shared, "/shared"))
	n.waitFor(swapper.dir + "/ready")
	for i := range 6 {
		c := of(container(fmt.Sprintf("victim%v%d", readOnly, i), "true"), "links")
		if readOnly {
			readOnlyRoot(c)
		}
		volume(shared, "/shared")(c)
		// It is made before there are other volumes, so nobody can be in its way.
		if _, err := n.createAndStart(pod, sandbox, c); err != nil {
			n.t.Errorf("read-only %v: %v", readOnly, err)
		}
	}
	if err := swapper.stop(); err != nil {
		n.t.Fatal(err)
	}
	var swaps int
	n.report(swapper, &swaps)
	n.t.Logf("%d exchanges", swaps)
	for _, name := range []string{"a/below", "b/below"} {
		if _, err := os.Stat(filepath.Join(shared, name)); err == nil {
			n.t.Errorf("read-only %v: a VOLUME was made in another's volume: %s", readOnly, name)
		}
	}
}
