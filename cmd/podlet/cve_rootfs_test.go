package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/hack/testimages/testimage"
)

// hostileTrees are what an image may have in place of what runtimes put into a root filesystem: each name a link to the canary.
var hostileTrees = map[string][]string{
	"devices": {"dev/null", "dev/console", "dev/ptmx", "dev/fd", "dev/stdin", "dev/stdout", "dev/stderr", "dev/pts", "dev/shm", "dev/mqueue", "dev/zero", "dev/tty"},
	"etcs":    {"etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/passwd", "etc/group", "etc/mtab"},
	"dev":     {"dev"}, "proc": {"proc"}, "sys": {"sys"}, "etc": {"etc"}, "run": {"run"},
}

// hostileLinks are the ways to point at a path of the host.
func hostileLinks(canary string) map[string]func(name string) string {
	return map[string]func(string) string{
		"absolute": func(name string) string { return filepath.Join(canary, name) },
		"relative": func(name string) string { return strings.Repeat("../", 20) + filepath.Join(canary, name)[1:] },
		"dangling": func(name string) string { return filepath.Join(canary, "absent", name) },
	}
}

// linksTo makes a layer that replaces each name by a link. The canary's directories are there in the image too, so that a link that stays inside leads to something.
func linksTo(canary string, names []string, target func(string) string) *testimage.Tree {
	t := testimage.NewTree()
	for _, dir := range []string{"", "/pts", "/shm", "/mqueue", "/fs", "/fs/cgroup"} {
		t.Dir(canary[1:]+dir, 0o755)
	}
	for _, name := range names {
		at := filepath.Base(name)
		if !strings.Contains(name, "/") {
			at = ""
		}
		t.Symlink(name, target(at))
	}
	return t
}

// TestCVE_A1_A2_A3: devices, standard streams and directories that the image has as links to host files (CVE-2026-88264, CVE-2026-88265, CVE-2026-47766,
// CVE-2026-41579). All that a link of the image can choose is a place in the image.
func TestCVE_A1_A2_A3(t *testing.T) {
	canary := newCanary(t)
	var images []testimage.Image
	for tree, names := range hostileTrees {
		for way, target := range hostileLinks(canary.dir) {
			images = append(images, hostile(t, tree+"-"+way, linksTo(canary.dir, names, target)))
		}
	}
	n := hostileNode(t, images...)
	sandbox := n.sandbox("links")
	pod := n.run(sandbox)
	// The fourth is what ls reads the directory with.
	const script = `[ -c /dev/null ] && [ -d /proc/self ] && [ -e /sys/kernel ] && [ -L /dev/ptmx ] && [ "$(ls /proc/self/fd | tr -d '\n')" = 0123 ]`
	for _, i := range images {
		name := strings.TrimSuffix(strings.TrimPrefix(i.Names[0], "hostile.test/"), ":latest")
		for tty, user := range map[bool]int64{false: 1000, true: 0} {
			c := of(container(fmt.Sprintf("%s-%v-%d", name, tty, user), "sh", "-c", script), name)
			c.Tty, c.LogPath = tty, ""
			c.Linux = &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{RunAsUser: &cri.Int64Value{Value: user}}}
			c.Mounts = []*cri.Mount{{HostPath: canary.dir + "/null", ContainerPath: "/mnt/hostfile", Readonly: true}}
			n.expectLinks(pod, sandbox, c, strings.HasPrefix(name, "proc-"), strings.HasSuffix(name, "-dangling"))
		}
	}
}

// expectLinks starts a container of a hostile image: it runs as any other, or isn't started, as refused and mayFail say.
func (n *node) expectLinks(pod string, sandbox *cri.PodSandboxConfig, c *cri.ContainerConfig, refused, mayFail bool) {
	n.t.Helper()
	id, err := n.createAndStart(pod, sandbox, c)
	switch {
	case err == nil && refused:
		n.t.Errorf("%s was started", c.Metadata.Name)
	case err == nil:
		if s := n.exited(id); s.ExitCode != 0 {
			n.t.Errorf("%s: the container found itself wrong: %d %s", c.Metadata.Name, s.ExitCode, s.Message)
		}
		n.remove(id)
	case !strings.Contains(err.Error(), "mount ") || !refused && !mayFail:
		n.t.Errorf("%s: %v", c.Metadata.Name, err)
	}
}

// TestCVE_A1_A2_A3WithoutDefence resolves the image's links as open(2) would. A test of TestCVE_A1_A2_A3 then fails, as its container doesn't come up: what the links lead to
// from there is the nursery's tree, in which there is nothing of the node. So not even then the canary is harmed.
func TestCVE_A1_A2_A3WithoutDefence(t *testing.T) {
	t.Setenv(withoutDefence, "resolve")
	canary := newCanary(t)
	n := hostileNode(t, hostile(t, "etc", linksTo(canary.dir, []string{"etc"}, hostileLinks(canary.dir)["absolute"])))
	sandbox := n.sandbox("links")
	pod := n.run(sandbox)
	id, err := n.createAndStart(pod, sandbox, of(container("app", "sh", "-c", "grep -q "+canary.dir+" /proc/self/mounts"), "etc"))
	if err == nil && n.exited(id).ExitCode == 0 {
		t.Error("links were resolved outside the image, and the test would not notice")
	}
	t.Logf("the start says %v", err)
}

// TestCVE_A2 looks at standard input where a container has none: it is a null device that nobody else can be troubled by, not the node's.
func TestCVE_A2(t *testing.T) {
	n := hostileNode(t)
	sandbox := n.sandbox("null")
	pod := n.run(sandbox)
	a := n.attack(pod, sandbox, "app", "null", nil)
	var found []string
	n.report(a, &found)
	run := n.startIn(pod, sandbox, container("sleep", "sleep", "1000"))
	if out, code := n.exec(run, "sh", "-c", "stat -L -c '%d %i' /proc/self/fd/0; chmod 666 /proc/self/fd/0; chown 0:0 /proc/self/fd/0"); code == 0 ||
		strings.Count(out, "Read-only file system") != 2 || strings.Contains(out, hostNull(t)) {
		t.Errorf("standard input of an exec: %d %s", code, out)
	}
	if len(found) != 3 || found[0] == hostNull(t) || found[1] != unix.EROFS.Error() || found[2] != unix.EROFS.Error() {
		t.Errorf("standard input of a container: %q, the node's null device is %s", found, hostNull(t))
	}
}

func hostNull(t *testing.T) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat("/dev/null", &st); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(st.Dev, st.Ino)
}

// attackNull tries to change what is behind standard input; if it could, nothing would be different.
func attackNull() any {
	var st unix.Stat_t
	if err := unix.Fstat(0, &st); err != nil {
		panic(err)
	}
	return []string{fmt.Sprint(st.Dev, st.Ino), fmt.Sprint(unix.Fchmod(0, 0o666)), fmt.Sprint(unix.Fchown(0, 0, 0))}
}

// TestCVE_A6: what is meant for proc lands in proc (CVE-2025-52881, CVE-2019-19921, CVE-2023-28642). A link as /proc is in TestCVE_A1_A2_A3.
func TestCVE_A6(t *testing.T) {
	canary := newCanary(t)
	n := hostileNode(t)
	sandbox := n.sandbox("proc")
	pod := n.run(sandbox)
	for _, target := range []string{
		"/proc", "/proc/", "/proc/self/attr", "/proc/sys", "/proc/sys/kernel", "/proc/thread-self", "/proc/self", "/proc/1", "/proc/sysrq-trigger",
		"//proc//sys", "/x/../proc/sys", "/proc/../proc/keys", "/", "", "..", "/proc/cpuinfo/..",
	} {
		c := container("app", "true")
		c.Mounts = []*cri.Mount{{HostPath: canary.dir, ContainerPath: target}}
		if _, err := n.create(pod, sandbox, c); code(err) != "InvalidArgument" {
			t.Errorf("mount on %q: %v", target, err)
		}
	}
	// A volume with a link is no way round.
	c := container("around", "sh", "-c", "cat /proc/sys/kernel/ostype; [ ! -e /proc/self/file ]")
	c.Mounts = []*cri.Mount{{HostPath: n.linkTo("/proc"), ContainerPath: "/volume"}, {HostPath: canary.dir, ContainerPath: "/volume/link/self"}, {HostPath: canary.dir, ContainerPath: "/volume/link/sys"}}
	if out, status := n.output(pod, sandbox, c); status != 0 || out != "Linux\n" {
		t.Errorf("mounts through a link to /proc: %d %q", status, out)
	}
}

// linkTo gives a directory with a link of that name.
func (n *node) linkTo(target string) string {
	n.t.Helper()
	dir := n.t.TempDir()
	if err := os.Symlink(target, dir+"/link"); err != nil {
		n.t.Fatal(err)
	}
	return dir
}

// TestCVE_A4_A5_A7_A8: a second container exchanges directories and links of a shared volume while mounts, masks and read-only paths are made on them, with and without
// a terminal (CVE-2025-31133, CVE-2025-52565, CVE-2024-45310, CVE-2021-30465).
func TestCVE_A4_A5_A7_A8(t *testing.T) {
	canary := newCanary(t)
	n := hostileNode(t)
	sandbox := n.sandbox("swap")
	pod := n.run(sandbox)
	started := 0
	for i, link := range []string{canary.dir, strings.Repeat("../", 20) + canary.dir[1:], "/proc/sys", "/sys"} {
		shared := t.TempDir()
		for _, dir := range []string{"a", "a/sys", "a/sys/kernel", "a/pts"} {
			if err := os.Mkdir(filepath.Join(shared, dir), 0o777); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(shared+"/a/null", nil, 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(link, shared+"/b"); err != nil {
			t.Fatal(err)
		}
		started += n.againstSwapper(i, pod, sandbox, shared, canary.dir)
	}
	if started == 0 {
		t.Error("no container came up beside the swapper")
	}
	if host := hostMountsBelow(t, canary.dir); len(host) > 0 {
		t.Errorf("mounts on the node: %v", host)
	}
}

func (n *node) againstSwapper(round int, pod string, sandbox *cri.PodSandboxConfig, shared, bait string) (started int) {
	n.t.Helper()
	swapper := n.attack(pod, sandbox, fmt.Sprint("swapper", round), "swap", nil, volume(shared, "/shared"))
	n.waitFor(swapper.dir + "/ready")
	for i := range 12 {
		// Opened for writing and nothing written: on the node it would be the node's.
		c := container(fmt.Sprintf("victim%d-%d", round, i), "sh", "-c", `: >>/proc/sys/kernel/core_pattern`)
		c.Tty = i%4 > 1
		volume(shared, "/shared")(c)
		if i%4 == 1 {
			c.Mounts = append(c.Mounts, &cri.Mount{HostPath: shared + "/a/pts", ContainerPath: "/dev/pts"})
		}
		for k := range []int{0, 1, 8}[i%3] {
			c.Mounts = append(c.Mounts, &cri.Mount{HostPath: bait, ContainerPath: fmt.Sprintf("/shared/a/pts/deep%d/er", k), Readonly: true})
		}
		if i%3 == 1 {
			c.Mounts = append(c.Mounts, &cri.Mount{HostPath: bait + "/file", ContainerPath: "/shared/a/null", Readonly: true})
		}
		c.Linux = &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{
			MaskedPaths:   []string{"/shared/a/null", "/shared/a/sys", "/proc/kcore", "/dev/null"},
			ReadonlyPaths: []string{"/proc/sys", "/shared/a/sys/kernel"},
		}}
		id, err := n.createAndStart(pod, sandbox, c)
		if err != nil {
			continue // the attacker may spoil a start, and no more
		}
		started++
		if s := n.exited(id); s.ExitCode == 0 {
			n.t.Errorf("%s: /proc/sys could be written", c.Metadata.Name)
		}
	}
	if err := swapper.stop(); err != nil {
		n.t.Fatal(err)
	}
	var swaps int
	n.report(swapper, &swaps)
	n.t.Logf("%d exchanges before and during 12 starts, of which %d came up", swaps, started)
	return started
}

func volume(source, target string) func(*cri.ContainerConfig) {
	return func(c *cri.ContainerConfig) {
		c.Mounts = append(c.Mounts, &cri.Mount{HostPath: source, ContainerPath: target})
	}
}

// attackSwap exchanges /shared/a and /shared/b until it is told to stop. It is ready when it is at it.
func attackSwap() any {
	swaps := 0
	for ; swaps%100 != 0 || !stopped(); swaps++ {
		if swaps == 100 {
			if err := os.WriteFile(attackerDir+"/ready", nil, 0o600); err != nil {
				panic(err)
			}
		}
		if err := unix.Renameat2(unix.AT_FDCWD, "/shared/a", unix.AT_FDCWD, "/shared/b", unix.RENAME_EXCHANGE); err != nil {
			panic(err)
		}
	}
	return swaps
}

// hostMountsBelow are the mounts in this mount namespace at or below a path.
func hostMountsBelow(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(strings.Split(string(text), "\n"), func(line string) bool { return !strings.Contains(line, path) })
}

// TestCVE_B11: no mount is made that the request doesn't name but podlet's own, and those aren't led astray by links at their targets: what they are is listed.
func TestCVE_B11(t *testing.T) {
	n := hostileNode(t, hostile(t, "fips", testimage.NewTree().Dir("etc/crypto-policies", 0o755).Symlink("etc/crypto-policies/back-ends", "/etc").Symlink("run/secrets", "/etc")))
	sandbox := n.sandbox("mounts")
	pod := n.run(sandbox)
	out, code := n.output(pod, sandbox, of(container("app", "sh", "-c", `cut -d' ' -f2 /proc/self/mounts | grep -v ^/proc/ | grep -v ^/sys/`), "fips"))
	const want = "/\n/dev\n/etc/hosts\n/etc/hostname\n/etc/resolv.conf\n/dev/pts\n/dev/shm\n/dev/mqueue\n"
	got := strings.Fields(strings.NewReplacer("/proc\n", "", "/sys\n", "").Replace(out))
	expected := strings.Fields(want)
	slices.Sort(got)
	slices.Sort(expected)
	if code != 0 || !slices.Equal(got, expected) {
		t.Errorf("mounts: %d\n%s", code, out)
	}
}
