package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// volumeDir is a directory on a tmpfs of its own, shared as / is on a node, that disappears with the test.
func volumeDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(unix.Mount("volume", dir, "tmpfs", 0, "mode=755"))
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	must(unix.Mount("", dir, "", unix.MS_SHARED, ""))
	must(os.WriteFile(filepath.Join(dir, "file"), []byte("content\n"), 0o644))
	sub := filepath.Join(dir, "sub")
	must(os.Mkdir(sub, 0o755))
	must(unix.Mount("sub", sub, "tmpfs", 0, "mode=755"))
	return dir
}

func TestVolumes(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	dir := volumeDir(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	const tries = "for f in /v/new /v/sub/new; do touch $f 2>/dev/null && echo wrote $f && rm $f; done; cat /v/file"
	for _, c := range []struct {
		name  string
		mount *cri.Mount
		want  string
	}{
		{"writable", &cri.Mount{HostPath: dir, ContainerPath: "/v"}, "wrote /v/new\nwrote /v/sub/new\ncontent\n"},
		{"link", &cri.Mount{HostPath: link, ContainerPath: "/v"}, "wrote /v/new\nwrote /v/sub/new\ncontent\n"},
		{"readonly", &cri.Mount{HostPath: dir, ContainerPath: "/v/", Readonly: true}, "wrote /v/sub/new\ncontent\n"},
		{"recursive", &cri.Mount{HostPath: dir, ContainerPath: "/v", Readonly: true, RecursiveReadOnly: true}, "content\n"},
		{"relative-target", &cri.Mount{HostPath: dir, ContainerPath: "v", Readonly: true, RecursiveReadOnly: true}, "content\n"},
	} {
		config := container(c.name, "sh", "-c", tries)
		mounting(c.mount)(config)
		id := p.start(config)
		if s := n.exited(id); s.ExitCode != 0 || len(s.Mounts) != 1 || s.Mounts[0].HostPath != c.mount.HostPath || s.Mounts[0].Readonly != c.mount.Readonly || s.Mounts[0].RecursiveReadOnly != c.mount.RecursiveReadOnly {
			t.Errorf("%s: %v", c.name, s)
		}
		if out := n.logged(id); out != c.want {
			t.Errorf("%s: %q, want %q", c.name, out, c.want)
		}
	}
	file := container("file", "sh", "-c", "cat /deep/down/file; echo more >> /deep/down/file")
	mounting(&cri.Mount{HostPath: filepath.Join(dir, "file"), ContainerPath: "/deep/down/file"})(file)
	if out := p.output(file); out != "content\n" {
		t.Errorf("a file: %q", out)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(text) != "content\nmore\n" {
		t.Errorf("%q, %v", text, err)
	}
	nested := container("nested", "sh", "-c", "cat /outer/inner/file; ls /outer")
	outer := t.TempDir()
	nested.Mounts = []*cri.Mount{{HostPath: dir, ContainerPath: "/outer/inner"}, {HostPath: outer, ContainerPath: "/outer"}}
	if out := p.output(nested); out != "content\nmore\ninner\n" {
		t.Errorf("a volume in a volume, given the other way round: %q", out)
	}
}

// TestPropagation: mounts made on the node while the container runs, and in the container, by each mode.
func TestPropagation(t *testing.T) {
	n := commonNode(t)
	p := n.newPod(linux(func(l *cri.LinuxPodSandboxConfig) { l.SecurityContext.Privileged = true }))
	for _, c := range []struct {
		name     string
		mode     cri.MountPropagation
		down, up bool
	}{
		{"private", cri.MountPropagation_PROPAGATION_PRIVATE, false, false},
		{"host-to-container", cri.MountPropagation_PROPAGATION_HOST_TO_CONTAINER, true, false},
		{"bidirectional", cri.MountPropagation_PROPAGATION_BIDIRECTIONAL, true, true},
	} {
		dir := volumeDir(t)
		for _, sub := range []string{"down", "up"} {
			if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		config := container(c.name, "sleep", "1000")
		security(func(s *cri.LinuxContainerSecurityContext) { s.Privileged = true })(config)
		mounting(&cri.Mount{HostPath: dir, ContainerPath: "/v", Propagation: c.mode})(config)
		id := p.start(config)
		down := filepath.Join(dir, "down")
		if err := unix.Mount("down", down, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
		if out, _ := n.exec(id, "cat", "/proc/self/mounts"); contains(out, " /v/down tmpfs") != c.down {
			t.Errorf("%s: the node's mount in the container: %v, want %v", c.name, !c.down, c.down)
		}
		if out, code := n.exec(id, "mount", "-t", "tmpfs", "up", "/v/up"); code != 0 {
			t.Fatalf("%s: mount: %s", c.name, out)
		}
		mounts, err := os.ReadFile("/proc/self/mounts")
		if err != nil {
			t.Fatal(err)
		}
		if contains(string(mounts), dir+"/up tmpfs") != c.up {
			t.Errorf("%s: the container's mount on the node: %v, want %v", c.name, !c.up, c.up)
		}
		if out, code := n.exec(id, "umount", "/v/up"); code != 0 {
			t.Errorf("%s: umount: %s", c.name, out)
		}
		if s := n.status(id); s.Mounts[0].Propagation != c.mode {
			t.Errorf("%s: status %v", c.name, s.Mounts)
		}
	}
}

// TestReadOnlyRoot: nothing of the root can be written but what is mounted in it.
func TestReadOnlyRoot(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	dir := volumeDir(t)
	for _, readOnly := range []bool{false, true} {
		config := container(map[bool]string{false: "writable", true: "readonly"}[readOnly], "sh", "-c",
			"for f in /new /etc/new /etc/hosts /v/new /dev/shm/new /made/new; do (echo x >> $f) 2>/dev/null && echo $f; done; true")
		security(func(s *cri.LinuxContainerSecurityContext) { s.ReadonlyRootfs = readOnly })(config)
		mounting(&cri.Mount{HostPath: dir, ContainerPath: "/v"})(config)
		config.WorkingDir = "/made"
		want := map[bool]string{false: "/new /etc/new /etc/hosts /v/new /dev/shm/new /made/new", true: "/v/new /dev/shm/new"}[readOnly]
		if out := strings.Join(strings.Fields(p.output(config)), " "); out != want {
			t.Errorf("read-only %v: written %s, want %s", readOnly, out, want)
		}
	}
}

// TestMaskedPaths: what is masked reads as empty, what is read-only can't be written, and an empty list leaves all as it is.
func TestMaskedPaths(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	const look = "cat /proc/interrupts | wc -c; ls /sys/firmware | wc -l; (echo 1 > /proc/sys/vm/drop_caches) 2>&1; cat /etc/image | wc -c; ls /usr | wc -l"
	for _, c := range []struct {
		name   string
		change func(*cri.LinuxContainerSecurityContext)
		check  func(lines []string) bool
	}{
		{"default", func(s *cri.LinuxContainerSecurityContext) {}, func(l []string) bool {
			return l[0] == "0" && l[1] == "0" && contains(l[2], "Read-only") && l[3] != "0" && l[4] != "0"
		}},
		{"own", func(s *cri.LinuxContainerSecurityContext) {
			s.MaskedPaths, s.ReadonlyPaths = []string{"/etc/image", "/usr", "/no/such", "/proc/no-such", "/sys/no/such"}, []string{"/proc/sys", "/none"}
		}, func(l []string) bool {
			return l[0] != "0" && contains(l[2], "Read-only") && l[3] == "0" && l[4] == "0"
		}},
	} {
		config := container(c.name, "sh", "-c", look)
		security(c.change)(config)
		out := p.output(config)
		if lines := strings.Split(out, "\n"); len(lines) != 6 || !c.check(lines) {
			t.Errorf("%s:\n%s", c.name, out)
		}
	}
}

// TestPodMounts: /dev/shm is the pod's, and so are hosts, hostname and resolv.conf.
func TestPodMounts(t *testing.T) {
	n := commonNode(t)
	p := n.newPod(func(c *cri.PodSandboxConfig) {
		c.DnsConfig = &cri.DNSConfig{Servers: []string{"192.0.2.53"}, Searches: []string{"a.test", "b.test"}, Options: []string{"ndots:5"}}
	})
	a, b := p.start(container("a", "sleep", "1000")), p.start(container("b", "sleep", "1000"))
	if out, code := n.exec(a, "sh", "-c", "echo shared > /dev/shm/f; df -k /dev/shm | tail -1"); code != 0 || !contains(out, " 65536 ") {
		t.Errorf("%d %s", code, out)
	}
	if out, _ := n.exec(b, "cat", "/dev/shm/f"); out != "shared\n" {
		t.Errorf("/dev/shm of the other container: %s", out)
	}
	if out, _ := n.exec(a, "sh", "-c", "hostname; cat /etc/hostname /etc/resolv.conf; grep localhost /etc/hosts | head -1"); out !=
		p.config.Hostname+"\n"+p.config.Hostname+"\nsearch a.test b.test\nnameserver 192.0.2.53\noptions ndots:5\n127.0.0.1\tlocalhost\n" {
		t.Errorf("%q", out)
	}
	nameless := n.newPod(func(c *cri.PodSandboxConfig) { c.Hostname = "" })
	node, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if out := nameless.output(container("app", "sh", "-c", "hostname; cat /etc/hostname")); out != node+"\n"+node+"\n" {
		t.Errorf("a pod without a name: %q", out)
	}
}
