package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/hack/testimages/testimage"
)

// maxTriedFD is the highest fd that is tried as a working directory.
const maxTriedFD = 255

// TestCVE_A9: no fd of the node's tree can become the working directory (CVE-2024-21626): not by the request, not by a link of the image or of a volume, neither as the
// container starts nor as a command is executed in it.
func TestCVE_A9(t *testing.T) {
	tree := testimage.NewTree()
	for fd := range maxTriedFD + 1 {
		tree.Symlink(fmt.Sprint("wd", fd), fmt.Sprint("/proc/self/fd/", fd))
	}
	n := hostileNode(t, hostile(t, "cwd", tree))
	sandbox := n.sandbox("cwd")
	pod := n.run(sandbox)
	for fd := range maxTriedFD + 1 {
		dirs := []string{fmt.Sprint("/proc/self/fd/", fd)}
		// All of them by the plain path; by the others a few.
		if fd < 8 {
			dirs = append(dirs, fmt.Sprint("/proc/thread-self/fd/", fd), fmt.Sprint("/wd", fd), fmt.Sprint("/wd", fd, "/../../.."), fmt.Sprint("/dev/fd/", fd))
		}
		for k, dir := range dirs {
			c := of(container(fmt.Sprintf("c%d-%d", fd, k), "pwd"), "cwd")
			c.WorkingDir, c.LogPath = dir, ""
			id, err := n.createAndStart(pod, sandbox, c)
			if err == nil {
				s := n.exited(id)
				// "/wd3/../../.." is cleaned to "/" by its text.
				if !strings.HasSuffix(dir, "..") {
					t.Errorf("working directory %s was taken (exit code %d)", dir, s.ExitCode)
				}
				n.remove(id)
			} else if !strings.Contains(err.Error(), "working directory") {
				t.Errorf("working directory %s: %v", dir, err)
			}
		}
	}
	for _, dir := range []string{"/proc/1/root", "/proc/self/root", "/proc/self/cwd", "/proc/1/cwd", "/proc/self/ns/mnt", "/proc/self/exe"} {
		c := container("magic"+filepath.Base(dir)+dir[6:7], "pwd")
		c.WorkingDir = dir
		if _, err := n.createAndStart(pod, sandbox, c); err == nil {
			t.Errorf("working directory %s was taken", dir)
		}
	}
	n.execInHostileDirectory(pod, sandbox)
}

// execInHostileDirectory: the directory was a good one as the container started.
func (n *node) execInHostileDirectory(pod string, sandbox *cri.PodSandboxConfig) {
	n.t.Helper()
	shared := n.t.TempDir()
	at := filepath.Join(shared, "wd")
	if err := os.Mkdir(at, 0o755); err != nil {
		n.t.Fatal(err)
	}
	c := container("victim", "sleep", "1000")
	c.WorkingDir = "/shared/wd"
	volume(shared, "/shared")(c)
	id := n.startIn(pod, sandbox, n.like(sandbox, c))
	if out, code := n.exec(id, "pwd"); code != 0 || out != "/shared/wd\n" {
		n.t.Fatalf("exec before the attack: %d %q", code, out)
	}
	if err := os.Rename(at, at+".old"); err != nil {
		n.t.Fatal(err)
	}
	for fd := range maxTriedFD + 1 {
		links := []string{fmt.Sprint("/proc/self/fd/", fd), fmt.Sprintf("/proc/self/fd/%d/../../../..", fd)}
		for _, link := range links[fd%2 : fd%2+1] {
			os.Remove(at)
			if err := os.Symlink(link, at); err != nil {
				n.t.Fatal(err)
			}
			r, err := n.ExecSync(n.ctx(), &cri.ExecSyncRequest{ContainerId: id, Cmd: []string{"pwd"}, Timeout: 10})
			if err == nil {
				n.t.Errorf("exec in %s: %d %s%s", link, r.ExitCode, r.Stdout, r.Stderr)
			}
		}
	}
}

// TestCVE_A10: a program that names itself as its interpreter executes podlet's pause, not podlet, and can't change it (CVE-2019-5736). The race is TestInvariant3.
func TestCVE_A10(t *testing.T) {
	n := hostileNode(t, hostile(t, "self", testimage.NewTree().File("self", 0o755, "#!/proc/self/exe\n")))
	sandbox := n.sandbox("self")
	pod := n.run(sandbox)
	id := n.startIn(pod, sandbox, of(container("app", "sleep", "1000"), "self"))
	for range 20 {
		if r, err := n.ExecSync(n.ctx(), &cri.ExecSyncRequest{ContainerId: id, Cmd: []string{"/self"}, Timeout: 5}); err == nil && r.ExitCode == 0 {
			t.Errorf("/self: %s%s", r.Stdout, r.Stderr)
		}
	}
	if id, err := n.createAndStart(pod, sandbox, of(container("main", "/self"), "self")); err == nil {
		if s := n.exited(id); s.ExitCode == 0 {
			t.Error("/self as a container's program ended with 0")
		}
	}
	// Root of the node is allowed more than any container's.
	pause := fmt.Sprintf("/proc/%d/exe", n.seenPod(pod).PID)
	for _, flags := range []int{unix.O_WRONLY, unix.O_RDWR, unix.O_WRONLY | unix.O_TRUNC} {
		if fd, err := unix.Open(pause, flags|unix.O_CLOEXEC, 0); err == nil {
			_, err = unix.Write(fd, nil)
			seals, sealErr := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
			unix.Close(fd)
			t.Errorf("pause's program can be opened with flags %#x: write says %v, seals %#x %v", flags, err, seals, sealErr)
		}
	}
	fd, err := unix.Open(pause, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); err == nil && seals&unix.F_SEAL_WRITE == 0 {
		t.Errorf("pause's program is sealed with %#x only", seals)
	}
}

// TestInvariant2: what a program finds open is 0, 1 and 2, whatever kind of container and whatever is mounted into it.
func TestInvariant2(t *testing.T) {
	n := hostileNode(t)
	for name, change := range map[string]func(*cri.NamespaceOption){
		"plain": func(*cri.NamespaceOption) {}, "userns": userNS,
		"node": func(o *cri.NamespaceOption) {
			o.Pid, o.Ipc, o.Network = cri.NamespaceMode_NODE, cri.NamespaceMode_NODE, cri.NamespaceMode_NODE
		},
		"shared": func(o *cri.NamespaceOption) { o.Pid = cri.NamespaceMode_POD },
	} {
		sandbox := n.sandbox(name, sharing(change))
		pod := n.run(sandbox)
		for i, change := range []func(*cri.ContainerConfig){
			func(*cri.ContainerConfig) {},
			func(c *cri.ContainerConfig) { c.Tty = true },
			func(c *cri.ContainerConfig) { c.Stdin = true },
			volume(t.TempDir(), "/volume"),
		} {
			c := container(fmt.Sprint("c", i), "sh", "-c", "ls /proc/self/fd; sleep 1000")
			change(c)
			id := n.startIn(pod, sandbox, n.like(sandbox, c))
			// Before that the shell may have files open for a moment.
			n.soon("the shell comes to its first command", func() bool { return contains(n.logged(id), "2") })
			if out, _ := n.exec(id, "ls", "/proc/self/fd"); out != "0\n1\n2\n3\n" {
				t.Errorf("%s %d: open in an exec: %q", name, i, out)
			}
			dir := fmt.Sprintf("/proc/%d/fd", n.seenContainer(id).PID)
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				link, _ := os.Readlink(filepath.Join(dir, e.Name()))
				if e.Name() == "0" || e.Name() == "1" || e.Name() == "2" || e.Name() == "10" && c.Tty {
					continue
				}
				t.Errorf("%s %d: fd %s is %s", name, i, e.Name(), link)
			}
		}
		n.removePod(pod)
	}
}
