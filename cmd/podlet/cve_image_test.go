package main

import (
	"archive/tar"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/hack/testimages/testimage"
)

// spoken are the names by which runtimes are spoken to in labels and annotations, with what would be done by those who listen. Here nobody does.
var spoken = map[string]string{
	"io.kubernetes.cri.container-type": "sandbox", "io.kubernetes.cri.sandbox-id": "../../x", "io.kubernetes.cri.untrusted-workload": "true",
	"io.kubernetes.cri-o.TrustedSandbox": "false", "io.kubernetes.cri-o.userns-mode": "auto", "io.kubernetes.cri-o.Devices": "/dev/mem:/dev/mem:rwm",
	"io.kubernetes.cri-o.ShmSize": "1", "io.kubernetes.cri-o.cgroup2-mount-hierarchy-rw": "true", "io.kubernetes.cri-o.seccompNotifierAction": "stop",
	"containerd.io/restart.status": "running", "containerd.io/restart.loguri": "binary:///bin/sh?x=y", "containerd.io/restart.policy": "always",
	"io.containerd.image.name": "x", "io.cri-containerd.kind": "sandbox", "io.podlet.privileged": "true", "podlet.io/tape": "none",
	"org.criu.checkpoint.engine.name": "cri-o", "io.kubernetes.cri-o.annotations.checkpoint.name": "app", "org.criu.checkpoint.container.name": "app",
	"checkpoint.k8s.io/restore": "true", "cdi.k8s.io/x": "vendor.com/device=all", "io.katacontainers.config.hypervisor.path": "/bin/sh",
	"org.systemd.property.ExecStopPost": "'/bin/sh'", "run.oci.keep_original_groups": "1", "run.oci.handler": "krun", "run.oci.hooks.stderr": "/x",
	"run.oci.systemd.subgroup": "..", "run.oci.delegate-cgroup": "..", "seccomp.security.alpha.kubernetes.io/pod": "unconfined",
	"container.apparmor.security.beta.kubernetes.io/app": "unconfined", "cpu-load-balancing.crio.io": "disable", "irq-load-balancing.crio.io": "disable",
	"io.kubernetes.container.logpath": "/x", "io.kubernetes.container.terminationMessagePath": "/etc/passwd", "nvidia.com/hook": "/bin/sh",
	"oci.runtimes.hooks.prestart": "/bin/sh", "io.crun.mount": "/:/host", "devices.nri.io/container.app": "- path: /dev/mem",
}

// TestCVE_B1_D3: labels of an image, annotations of a pod and of a container, and files that look like a checkpoint change nothing of what is done, which is what the tapes say
// (CVE-2026-53488, CVE-2026-53492, CVE-2026-53489, CVE-2026-50195, CVE-2024-8676).
func TestCVE_B1_D3(t *testing.T) {
	tapes := t.TempDir()
	t.Setenv(keepTapes, tapes)
	canary := newCanary(t)
	checkpoint := func() *testimage.Tree {
		return testimage.NewTree().File("spec.dump", 0o644, `{"annotations":{"cdi.k8s.io/x":"vendor.com/device=all"}}`).File("config.dump", 0o644, `{"rootfsImageName":"podlet.test/busybox:latest"}`).
			File("bind.mounts", 0o644, `[{"source":"`+canary.dir+`","destination":"/host","type":"directory"}]`).
			Dir("checkpoint", 0o755).File("checkpoint/inventory.img", 0o644, "x").Symlink("container.log", canary.dir+"/file").Symlink("dump.log", canary.dir+"/secret")
	}
	n := hostileNode(t, hostile(t, "plain", checkpoint()), hostile(t, "spoken", checkpoint(), func(c *testimage.Config) { c.Labels = spoken }))
	var played [2]string
	for i, image := range []string{"plain", "spoken"} {
		before := tapesIn(t, tapes)
		sandbox := n.sandbox("pod")
		c := of(container("app", "sleep", "1000"), image)
		if image == "spoken" {
			sandbox.Annotations, c.Annotations = spoken, spoken
		}
		pod := n.run(sandbox)
		id := n.startIn(pod, sandbox, c)
		n.exec(id, "true")
		n.removePod(pod)
		played[i] = contents(t, slices.DeleteFunc(tapesIn(t, tapes), func(name string) bool { return slices.Contains(before, name) }))
	}
	// The first of all is the nursery's.
	if _, rest, ok := strings.Cut(played[0], "\npod test/pod"); ok {
		played[0] = "\npod test/pod" + rest
	}
	if played[0] != played[1] || strings.Count(played[0], "execve(") < 2 {
		t.Errorf("tapes differ:\n%s\n---\n%s", played[0], played[1])
	}
}

func tapesIn(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(dir + "/*")
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func contents(t *testing.T, files []string) string {
	t.Helper()
	var b strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString("\n")
		b.Write(text)
	}
	return b.String()
}

// strangeUsers are values of USER, each with the uid that it may mean; -1: it must be refused.
var strangeUsers = map[string]int64{
	"0": 0, "00": 0, "1000": 1000, "01000": 1000, "app": 1000, "2147483647": 2147483647,
	"2147483648": -1, "4294967295": -1, "4294967296": -1, "4294967297": -1, "18446744073709551616": -1, "-0": -1, "+0": -1, "-1": -1, " 0": -1, "0 ": -1,
	"1000:4294967296": -1, "1000:-1": -1, "٣": -1, "０": -1, "app:": -1, ":0": -1, "../root": -1, "a:b:c": -1, "absent": -1,
	// Names, as they have a letter; the image's passwd file makes them root, and ImageStatus then doesn't claim to know a uid.
	"0x0": 0, "1e3": 0, "r00t": 0,
}

// TestCVE_B2: a user that is out of range, or not plainly a number or a name, is nobody: not root by way of a line in the image's passwd file (CVE-2026-46680,
// CVE-2024-40635, CVE-2016-3697, CVE-2026-30892).
func TestCVE_B2(t *testing.T) {
	passwd := "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/:/bin/sh\n"
	for user := range strangeUsers {
		if user == "absent" {
			continue
		}
		passwd += strings.TrimSpace(user) + ":x:0:0::/:/bin/sh\n"
	}
	var images []testimage.Image
	users := slices.Sorted(maps.Keys(strangeUsers))
	for i, user := range users {
		images = append(images, hostile(t, fmt.Sprint("user", i), testimage.NewTree().File("etc/passwd", 0o644, passwd), func(c *testimage.Config) { c.User = user }))
	}
	n := hostileNode(t, images...)
	// A config with such a text is no config at all.
	bad := filepath.Join(t.TempDir(), "bad")
	if err := testimage.WriteLayout(bad, hostile(t, "newline", testimage.NewTree(), func(c *testimage.Config) { c.User = "root\n" })); err != nil {
		t.Fatal(err)
	}
	if err := n.tryImport(t.TempDir(), bad); err == nil {
		t.Error("an image with a newline in USER was imported")
	}
	sandbox := n.sandbox("users")
	pod := n.run(sandbox)
	for i, user := range users {
		n.expectUser(pod, sandbox, fmt.Sprint("user", i), user, strangeUsers[user])
	}
	for i, name := range []string{"4294967296", "0", "٣", "root\n", "-0", "a:b", "app:0", " app", "\x00", "root\x00x"} {
		c := of(container(fmt.Sprint("byname", i), "id", "-u"), "user0")
		c.Linux = &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{RunAsUsername: name}}
		// All digits are a number, also here.
		if _, err := n.create(pod, sandbox, c); code(err) != "InvalidArgument" && name != "0" {
			t.Errorf("run_as_username %q: %v", name, err)
		}
	}
	for i, id := range []int64{-1, 1 << 31, 1 << 32, 1<<32 + 1000, 1<<63 - 1} {
		c := of(container(fmt.Sprint("byid", i), "id", "-u"), "user0")
		c.Linux = &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{RunAsUser: &cri.Int64Value{Value: id}}}
		if _, err := n.create(pod, sandbox, c); code(err) != "InvalidArgument" {
			t.Errorf("run_as_user %d: %v", id, err)
		}
	}
}

// tryImport imports into a store of its own.
func (n *node) tryImport(root, layout string) error {
	cmd := exec.Command("/proc/self/exe", "image", "import", "--root", root+"/root", layout)
	cmd.Env = append(os.Environ(), asPodlet+"=1")
	return cmd.Run()
}

// expectUser compares what ImageStatus says of an image's user with who its container is, or wants both refused.
func (n *node) expectUser(pod string, sandbox *cri.PodSandboxConfig, image, user string, want int64) {
	n.t.Helper()
	status, statusErr := n.images.ImageStatus(n.ctx(), &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: "hostile.test/" + image + ":latest"}})
	id, err := n.createAndStart(pod, sandbox, of(container(image, "sh", "-c", "grep ^Uid /proc/self/status"), image))
	if want < 0 {
		if code(err) != "InvalidArgument" {
			n.t.Errorf("USER %q: %v", user, err)
		}
		if statusErr == nil && status.GetImage().GetUid() != nil {
			n.t.Errorf("USER %q: ImageStatus says uid %v", user, status.Image.Uid)
		}
		return
	}
	if err != nil || statusErr != nil {
		n.t.Errorf("USER %q: %v, %v", user, err, statusErr)
		return
	}
	got := n.written(n.exited(id))
	if f := strings.Fields(got); len(f) != 5 || slices.Contains(f[1:], strconv.FormatInt(want, 10)) == false || len(slices.Compact(f[1:])) != 1 {
		n.t.Errorf("USER %q: the process has %q", user, got)
	}
	if uid := status.Image.Uid; uid != nil && uid.Value != want || uid == nil && status.Image.Username != user {
		n.t.Errorf("USER %q: ImageStatus says %v %q", user, uid, status.Image.Username)
	}
}

// TestCVE_B4: a passwd or group file that is huge, or no file at all, costs podlet neither memory nor time (CVE-2026-47262, CVE-2025-4437).
func TestCVE_B4(t *testing.T) {
	long := strings.Repeat("member,", 1<<20)
	trees := map[string]*testimage.Tree{
		"line":    testimage.NewTree().File("etc/group", 0o644, "big:x:5000:"+long+"\n"),
		"groups":  testimage.NewTree().File("etc/group", 0o644, manyGroups(70000)),
		"fifo":    testimage.NewTree().Add(tar.Header{Typeflag: tar.TypeFifo, Name: "etc/passwd", Mode: 0o644}, nil),
		"zero":    testimage.NewTree().Add(tar.Header{Typeflag: tar.TypeChar, Name: "etc/passwd", Mode: 0o644, Devmajor: 1, Devminor: 5}, nil),
		"kmsg":    testimage.NewTree().Symlink("etc/passwd", "/proc/kmsg"),
		"loop":    testimage.NewTree().Symlink("etc/passwd", "passwd"),
		"shadow":  testimage.NewTree().Symlink("etc/passwd", strings.Repeat("../", 20)+"etc/shadow"),
		"dir":     testimage.NewTree().Dir("etc/passwd", 0o755),
		"nothing": testimage.NewTree().File("etc/passwd", 0o644, strings.Repeat("\x00", 1<<20)),
	}
	images := map[string]testimage.Image{}
	for name, tree := range trees {
		images[name] = hostile(t, name, tree, func(c *testimage.Config) { c.User = "app" })
	}
	n := hostileNode(t, slices.Collect(maps.Values(images))...)
	sandbox := n.sandbox("users")
	pod := n.run(sandbox)
	before := n.memory()
	for name := range images {
		// Where it takes for ever, as a read of a FIFO or of zeros does, that is DeadlineExceeded.
		_, err := n.createAndStart(pod, sandbox, of(container(name, "true"), name))
		if code(err) != "InvalidArgument" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if grown := n.memory() - before; grown > 64<<20 {
		t.Errorf("podlet grew by %d bytes", grown)
	}
}

func manyGroups(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "g%d:x:%d:app\n", i, 10000+i)
	}
	return b.String()
}

// memory is the most that podlet ever had in memory, in bytes.
func (n *node) memory() int {
	n.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	if err != nil {
		n.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		n.t.Fatal(err)
	}
	return kib << 10
}

// TestCVE_B5: podlet writes no line of anyone's passwd file, and what can't be a home directory isn't one (CVE-2026-15809, GO-2022-1206).
func TestCVE_B5(t *testing.T) {
	const passwd = "app:x:1000:1000::/home\x01x:/bin/sh\nroot:x:0:0::/root:/bin/sh\n"
	n := hostileNode(t, hostile(t, "home", testimage.NewTree().File("etc/passwd", 0o644, passwd), func(c *testimage.Config) {
		c.User, c.Env = "app", append(c.Env, "HOME=/x\nevil:x:0:0::/:/bin/sh")
	}))
	sandbox := n.sandbox("home")
	pod := n.run(sandbox)
	out, status := n.output(pod, sandbox, of(container("image", "cat", "/etc/passwd"), "home"))
	if status != 0 || out != passwd {
		t.Errorf("the image's passwd file reads %q", out)
	}
	for i, home := range []string{"/x\nevil:x:0:0::/:/bin/sh", "/a:b", "/a\rb", `/a\nb`} {
		c := of(container(fmt.Sprint("env", i), "cat", "/etc/passwd"), "home")
		c.Envs = []*cri.KeyValue{{Key: "HOME", Value: []byte(home)}}
		if out, _ := n.output(pod, sandbox, c); out != passwd {
			t.Errorf("HOME %q: the image's passwd file reads %q", home, out)
		}
	}
	c := of(container("nul", "true"), "home")
	c.Envs = []*cri.KeyValue{{Key: "HOME", Value: []byte("/x\x00y")}}
	if _, err := n.create(pod, sandbox, c); code(err) != "InvalidArgument" {
		t.Errorf("HOME with a NUL: %v", err)
	}
}

// TestCVE_B10: a file that shuts a group out shuts out those whose primary group it is, whatever other group they run with (GO-2022-1014).
func TestCVE_B10(t *testing.T) {
	tree := testimage.NewTree().File("etc/passwd", 0o644, "app:x:1000:5000::/:/bin/sh\n").File("etc/group", 0o644, "denied:x:5000:\nmore:x:6000:app\n").
		Add(tar.Header{Typeflag: tar.TypeReg, Name: "shut", Mode: 0o604, Gid: 5000}, []byte("secret"))
	n := hostileNode(t, hostile(t, "groups", tree, func(c *testimage.Config) { c.User = "app" }))
	sandbox := n.sandbox("groups")
	pod := n.run(sandbox)
	for name, want := range map[string]string{"image": "Groups:\t5000 6000 ", "asked": "Groups:\t5000 6000 7000 "} {
		c := of(container(name, "sh", "-c", "grep Groups /proc/self/status; cat /shut"), "groups")
		c.Linux = &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{}}
		if name == "asked" {
			c.Linux.SecurityContext.SupplementalGroups = []int64{7000}
		}
		out, status := n.output(pod, sandbox, c)
		if status == 0 || !strings.Contains(out, want) || strings.Contains(out, "secret") {
			t.Errorf("%s: %d %q", name, status, out)
		}
	}
}
