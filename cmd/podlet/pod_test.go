package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	busybox = "podlet.test/busybox:latest"
	tools   = "podlet.test/tools:latest"
)

// sandbox is a plain pod's config.
func (n *node) sandbox(name string, change ...func(*cri.PodSandboxConfig)) *cri.PodSandboxConfig {
	c := &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Name: name, Namespace: "test", Uid: "uid-" + name},
		Hostname:     name,
		LogDirectory: filepath.Join(n.dir, "logs"),
		Linux: &cri.LinuxPodSandboxConfig{
			CgroupParent:    "/" + n.cgroup,
			SecurityContext: &cri.LinuxSandboxSecurityContext{NamespaceOptions: &cri.NamespaceOption{Pid: cri.NamespaceMode_CONTAINER}},
		},
	}
	for _, f := range change {
		f(c)
	}
	return c
}

func container(name string, command ...string) *cri.ContainerConfig {
	return &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: name},
		Image:    &cri.ImageSpec{Image: busybox},
		Command:  command,
		LogPath:  name + ".log",
	}
}

func (n *node) run(c *cri.PodSandboxConfig) string {
	n.t.Helper()
	r, err := n.RunPodSandbox(n.ctx(), &cri.RunPodSandboxRequest{Config: c})
	if err != nil {
		n.t.Fatalf("RunPodSandbox: %v\n%s", err, n.log())
	}
	return r.PodSandboxId
}

func (n *node) startIn(pod string, sandbox *cri.PodSandboxConfig, c *cri.ContainerConfig) string {
	n.t.Helper()
	r, err := n.CreateContainer(n.ctx(), &cri.CreateContainerRequest{PodSandboxId: pod, Config: c, SandboxConfig: sandbox})
	if err != nil {
		n.t.Fatalf("CreateContainer: %v", err)
	}
	if _, err := n.StartContainer(n.ctx(), &cri.StartContainerRequest{ContainerId: r.ContainerId}); err != nil {
		n.t.Fatalf("StartContainer: %v\n%s", err, n.log())
	}
	return r.ContainerId
}

func (n *node) status(container string) *cri.ContainerStatus {
	n.t.Helper()
	r, err := n.ContainerStatus(n.ctx(), &cri.ContainerStatusRequest{ContainerId: container})
	if err != nil {
		n.t.Fatalf("ContainerStatus: %v", err)
	}
	return r.Status
}

// exited waits for the container's end.
func (n *node) exited(container string) *cri.ContainerStatus {
	n.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if s := n.status(container); s.State == cri.ContainerState_CONTAINER_EXITED {
			return s
		}
	}
	n.t.Fatalf("container %s does not end", container)
	return nil
}

func (n *node) exec(container string, args ...string) (string, int32) {
	n.t.Helper()
	r, err := n.ExecSync(n.ctx(), &cri.ExecSyncRequest{ContainerId: container, Cmd: args, Timeout: 10})
	if err != nil {
		n.t.Fatalf("ExecSync %v: %v", args, err)
	}
	return string(r.Stdout) + string(r.Stderr), r.ExitCode
}

func TestPodComesUp(t *testing.T) {
	n := newNode(t)
	sandbox := n.sandbox("web")
	pod := n.run(sandbox)
	c := n.startIn(pod, sandbox, container("app", "sh", "-c", "echo hello; trap 'exit 3' TERM; while :; do sleep 0.05; done"))
	if s := n.status(c); s.State != cri.ContainerState_CONTAINER_RUNNING {
		t.Fatalf("state %v", s)
	}
	out, code := n.exec(c, "sh", "-c", "hostname; id -u; echo err >&2; exit 4")
	if out != "web\n0\nerr\n" || code != 4 {
		t.Errorf("exec: %q, %d", out, code)
	}
	if _, err := n.StopContainer(n.ctx(), &cri.StopContainerRequest{ContainerId: c, Timeout: 10}); err != nil {
		t.Fatal(err)
	}
	if s := n.status(c); s.ExitCode != 3 || s.Reason != "Error" || s.State != cri.ContainerState_CONTAINER_EXITED {
		t.Errorf("status after stop: %v", s)
	}
	log, err := os.ReadFile(n.status(c).LogPath)
	if err != nil || !strings.HasSuffix(string(log), " stdout F hello\n") {
		t.Errorf("log %q, %v", log, err)
	}
}
