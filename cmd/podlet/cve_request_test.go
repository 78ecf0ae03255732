package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestCVE_E4: what a command writes costs podlet a bounded piece of memory, however long it writes (CVE-2022-1708, CVE-2022-31030).
func TestCVE_E4(t *testing.T) {
	n := newNode(t)
	sandbox := n.sandbox("flood")
	pod := n.run(sandbox)
	id := n.startIn(pod, sandbox, container("app", "sleep", "1000"))
	// Both streams have one message's room, and each its first 64 KiB in any case.
	const most, own = 16<<20 - 4096, 64 << 10
	before := n.memory()
	r, err := n.ExecSync(t.Context(), &cri.ExecSyncRequest{ContainerId: id, Cmd: []string{"sh", "-c", "yes head | head -c 20000000; yes tail | head -c 20000000 >&2"}, Timeout: 120})
	if err != nil || len(r.Stdout) != most-own || len(r.Stderr) != own || !strings.HasPrefix(string(r.Stdout), "head\n") || !strings.HasPrefix(string(r.Stderr), "tail\n") {
		t.Errorf("%d and %d bytes, %v", len(r.GetStdout()), len(r.GetStderr()), err)
	}
	r, err = n.ExecSync(t.Context(), &cri.ExecSyncRequest{ContainerId: id, Cmd: []string{"dd", "if=/dev/zero", "bs=1M", "count=400"}, Timeout: 120})
	if err != nil || len(r.Stdout) != most-own {
		t.Errorf("%d bytes, %v", len(r.GetStdout()), err)
	}
	if _, err := n.ExecSync(n.ctx(), &cri.ExecSyncRequest{ContainerId: id, Cmd: []string{"yes"}, Timeout: 1}); code(err) != "DeadlineExceeded" {
		t.Errorf("yes: %v", err)
	}
	// Two streams, the answer in both of its forms, and as much again that the collector has not taken back yet.
	bound := 20 * most
	if raceDetector {
		bound *= 3
	}
	if grown := n.memory() - before; grown > bound {
		t.Errorf("podlet grew by %d MiB for 440 MB of output and what yes wrote", grown>>20)
	}
}

// TestCVE_E8: a container's log is a file below its pod's log directory or nothing (CVE-2024-5154).
func TestCVE_E8(t *testing.T) {
	canary := newCanary(t)
	n := hostileNode(t)
	logs := t.TempDir()
	sandbox := n.sandbox("logs", func(c *cri.PodSandboxConfig) { c.LogDirectory = logs })
	pod := n.run(sandbox)
	up := strings.Repeat("../", 20)
	for name, target := range map[string]string{"link": canary.dir + "/file", "dirlink": canary.dir, "dangling": canary.dir + "/new", "up": up + canary.dir[1:] + "/file", "null": "/dev/null"} {
		canary.must(os.Symlink(target, filepath.Join(logs, name)))
	}
	canary.must(unix.Mkfifo(filepath.Join(logs, "fifo"), 0o600))
	canary.must(os.Mkdir(filepath.Join(logs, "dir"), 0o700))
	hard := filepath.Join(t.TempDir(), "hard")
	canary.must(os.WriteFile(hard, []byte("another's\n"), 0o600))
	canary.must(os.Link(hard, filepath.Join(logs, "hard")))
	for i, path := range []string{
		"../../x", "..", "/x", canary.dir + "/file", "a/../../x", "./../x", up + canary.dir[1:] + "/file", "link", "dirlink/file", "dirlink/new", "dangling", "up", "null",
		"fifo", "dir", "dir/", "hard", ".", "a/..", "x\x00y", "x\ny", strings.Repeat("a/", 3000) + "x", strings.Repeat("a", 256),
	} {
		c := container(fmt.Sprint("c", i), "echo", "written by a container")
		c.LogPath = path
		if _, err := n.createAndStart(pod, sandbox, c); code(err) != "InvalidArgument" {
			t.Errorf("log_path %.60q: %v", path, err)
		}
	}
	if text, err := os.ReadFile(hard); err != nil || string(text) != "another's\n" {
		t.Errorf("a file with a second name: %q %v", text, err)
	}
	for i, dir := range []string{"relative", "../x", logs + "/../x", "/x/../../y", "/\x00", "/a\nb"} {
		s := n.sandbox(fmt.Sprint("dir", i), func(c *cri.PodSandboxConfig) { c.LogDirectory = dir })
		r, err := n.RunPodSandbox(n.ctx(), &cri.RunPodSandboxRequest{Config: s})
		if err == nil {
			_, err = n.createAndStart(r.PodSandboxId, s, container("app", "true"))
			n.removePod(r.PodSandboxId)
		}
		if code(err) != "InvalidArgument" {
			t.Errorf("log_directory %q: %v", dir, err)
		}
	}
}

// TestCVE_E9: a request that is too large is refused with a word on the limit; what is large and lawful runs (CVE-2021-43784).
func TestCVE_E9(t *testing.T) {
	n := hostileNode(t)
	sandbox := n.sandbox("large")
	pod := n.run(sandbox)
	run := func(name string, change func(*cri.ContainerConfig)) error {
		c := container(name, "true")
		change(c)
		id, err := n.createAndStart(pod, sandbox, c)
		if err == nil {
			if s := n.exited(id); s.ExitCode != 0 {
				err = fmt.Errorf("exit code %d %s", s.ExitCode, s.Message)
			}
		}
		return err
	}
	lawful := run("lawful", func(c *cri.ContainerConfig) { c.Envs = variables(5000, 200) })
	if lawful != nil {
		t.Errorf("1 MB of environment: %v", lawful)
	}
	for name, change := range map[string]func(*cri.ContainerConfig){
		"variables": func(c *cri.ContainerConfig) { c.Envs = variables(16000, 1000) },
		"argument":  func(c *cri.ContainerConfig) { c.Args = []string{strings.Repeat("x", 2<<20)} },
		"arguments": func(c *cri.ContainerConfig) { c.Args = slices.Repeat([]string{strings.Repeat("x", 200)}, 1<<15) },
		"mounts": func(c *cri.ContainerConfig) {
			for i := range 5000 {
				volume("/tmp", fmt.Sprint("/m", i))(c)
			}
		},
		"masks": func(c *cri.ContainerConfig) {
			c.Linux = &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{}}
			for i := range 20000 {
				c.Linux.SecurityContext.MaskedPaths = append(c.Linux.SecurityContext.MaskedPaths, fmt.Sprint("/m", i))
			}
		},
	} {
		err := run(name, change)
		if err == nil {
			t.Errorf("%s: it runs", name)
			continue
		}
		if !contains(err.Error(), "at most") && !contains(err.Error(), "more than") && !contains(err.Error(), "too large") {
			t.Errorf("%s: the error names no limit: %.1000s", name, err)
		}
		if size := len(err.Error()); size > 10_000 {
			t.Errorf("%s: the error has %d bytes", name, size)
		}
	}
	if out, _ := n.output(pod, sandbox, container("after", "echo", "well")); out != "well\n" {
		t.Errorf("a container after all that: %q", out)
	}
}

func variables(n, size int) (list []*cri.KeyValue) {
	value := []byte(strings.Repeat("v", size))
	for i := range n {
		list = append(list, &cri.KeyValue{Key: fmt.Sprint("V", i), Value: value})
	}
	return list
}

// TestCVE_E10: what confines is told by the type of a profile, and a type without what it needs, or an unknown one, confines nobody by chance: it is refused (GO-2023-1864).
func TestCVE_E10(t *testing.T) {
	n := hostileNode(t)
	sandbox := n.sandbox("profiles")
	pod := n.run(sandbox)
	i := 0
	refused := func(what string, change func(*cri.LinuxContainerSecurityContext)) {
		t.Helper()
		i++
		c := container(fmt.Sprint("c", i), "true")
		c.Linux = &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{}}
		change(c.Linux.SecurityContext)
		if _, err := n.create(pod, sandbox, c); code(err) != "InvalidArgument" && code(err) != "Unimplemented" && code(err) != "FailedPrecondition" {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, kind := range []cri.SecurityProfile_ProfileType{cri.SecurityProfile_Localhost, 3, 99, -1} {
		for _, ref := range []string{"", "../../etc/passwd", "/no/such/profile", "no-such-profile", "x\x00y"} {
			p := &cri.SecurityProfile{ProfileType: kind, LocalhostRef: ref}
			refused(fmt.Sprintf("seccomp %v %q", kind, ref), func(s *cri.LinuxContainerSecurityContext) { s.Seccomp = p })
			refused(fmt.Sprintf("AppArmor %v %q", kind, ref), func(s *cri.LinuxContainerSecurityContext) { s.Apparmor = p })
		}
	}
	refused("groups policy 99", func(s *cri.LinuxContainerSecurityContext) { s.SupplementalGroupsPolicy = 99 })
	refused("SELinux", func(s *cri.LinuxContainerSecurityContext) { s.SelinuxOptions = &cri.SELinuxOption{Type: "spc_t"} })
	refused("unknown capability", func(s *cri.LinuxContainerSecurityContext) {
		s.Capabilities = &cri.Capability{DropCapabilities: []string{"NO_SUCH"}}
	})
	refused("privileged in a pod that isn't", func(s *cri.LinuxContainerSecurityContext) { s.Privileged = true })
}

// TestCVE_E15: an id is looked up and never a path; another object's id is no object of this kind.
func TestCVE_E15(t *testing.T) {
	canary := newCanary(t)
	n := hostileNode(t)
	sandbox := n.sandbox("ids")
	pod := n.run(sandbox)
	app := n.startIn(pod, sandbox, container("app", "sleep", "1000"))
	up := strings.Repeat("../", 20)
	strange := []string{"", ".", "..", "/", "a/../../b", canary.dir, up + canary.dir[1:], "../state", strings.ToUpper(app), app + "/", app + "\x00", strings.Repeat("a", 1<<20)}
	for _, id := range append(strange, app, app[:13]) {
		for name, call := range n.podVerbs(id) {
			n.expectNothing(name, id, call)
		}
	}
	for _, id := range append(strange, pod, pod[:13]) {
		for name, call := range n.containerVerbs(id) {
			n.expectNothing(name, id, call)
		}
	}
	// Of another pod's container only this can be said in a pod.
	other := n.sandbox("other")
	otherPod := n.run(other)
	debug := container("debug", "true")
	debug.Linux = &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{
		NamespaceOptions: &cri.NamespaceOption{Pid: cri.NamespaceMode_TARGET, TargetId: app},
	}}
	if _, err := n.CreateContainer(n.ctx(), &cri.CreateContainerRequest{PodSandboxId: otherPod, Config: debug, SandboxConfig: other}); code(err) != "NotFound" && code(err) != "InvalidArgument" {
		t.Errorf("join the PID namespace of another pod's container: %v", err)
	}
	if s := n.status(app); s.State != cri.ContainerState_CONTAINER_RUNNING {
		t.Errorf("the container is %v", s.State)
	}
}

type verb func(context.Context) error

// expectNothing: a removal or stop of what isn't there is success (api.proto), all else an error that says so.
func (n *node) expectNothing(name, id string, do verb) {
	n.t.Helper()
	err := do(n.ctx())
	gone := strings.HasPrefix(name, "Stop") || strings.HasPrefix(name, "Remove")
	if c := code(err); c != "NotFound" && c != "InvalidArgument" && c != "Internal" && (c != "OK" || !gone) {
		n.t.Errorf("%s of %.60q: %v", name, id, err)
	}
}

func (n *node) podVerbs(id string) map[string]verb {
	return map[string]verb{
		"StopPodSandbox": func(ctx context.Context) error {
			_, err := n.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: id})
			return err
		},
		"RemovePodSandbox": func(ctx context.Context) error {
			_, err := n.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: id})
			return err
		},
		"PodSandboxStatus": func(ctx context.Context) error {
			_, err := n.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: id, Verbose: true})
			return err
		},
		"CreateContainer": func(ctx context.Context) error {
			_, err := n.CreateContainer(ctx, &cri.CreateContainerRequest{PodSandboxId: id, Config: container("app", "true"), SandboxConfig: n.sandbox("x")})
			return err
		},
	}
}

func (n *node) containerVerbs(id string) map[string]verb {
	return map[string]verb{
		"StartContainer": func(ctx context.Context) error {
			_, err := n.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: id})
			return err
		},
		"StopContainer": func(ctx context.Context) error {
			_, err := n.StopContainer(ctx, &cri.StopContainerRequest{ContainerId: id})
			return err
		},
		"RemoveContainer": func(ctx context.Context) error {
			_, err := n.RemoveContainer(ctx, &cri.RemoveContainerRequest{ContainerId: id})
			return err
		},
		"ContainerStatus": func(ctx context.Context) error {
			_, err := n.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: id, Verbose: true})
			return err
		},
		"ExecSync": func(ctx context.Context) error {
			_, err := n.ExecSync(ctx, &cri.ExecSyncRequest{ContainerId: id, Cmd: []string{"true"}})
			return err
		},
	}
}
