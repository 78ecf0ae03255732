package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	busybox = "podlet.test/busybox:latest"
	tools   = "podlet.test/tools:latest"
	scratch = "podlet.test/scratch:latest"
)

// logDirs counts the configs that have got a log directory of their own, as kubelets give it: no test reads what another pod has written.
var logDirs atomic.Int64

// sandbox is a plain pod's config.
func (n *node) sandbox(name string, change ...func(*cri.PodSandboxConfig)) *cri.PodSandboxConfig {
	c := &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Name: name, Namespace: "test", Uid: "uid-" + name},
		Hostname:     name,
		LogDirectory: filepath.Join(n.dir, "logs", fmt.Sprintf("%s-%d", name, logDirs.Add(1))),
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
	n.pods.add(r.PodSandboxId)
	return r.PodSandboxId
}

func (l *podList) add(id string) {
	l.Lock()
	defer l.Unlock()
	l.ids = append(l.ids, id)
}

// testPod is a pod that a test has run.
type testPod struct {
	n      *node
	id     string
	config *cri.PodSandboxConfig
}

// newPod runs a pod; its containers share nothing but network, IPC and name unless change says otherwise.
func (n *node) newPod(change ...func(*cri.PodSandboxConfig)) *testPod {
	n.t.Helper()
	n.pods.Lock()
	name := fmt.Sprintf("pod-%d", len(n.pods.ids))
	n.pods.Unlock()
	c := n.sandbox(name, change...)
	return &testPod{n, n.run(c), c}
}

// tryCreate is CreateContainer.
func (p *testPod) tryCreate(c *cri.ContainerConfig) (string, error) {
	r, err := p.n.CreateContainer(p.n.ctx(), &cri.CreateContainerRequest{PodSandboxId: p.id, Config: c, SandboxConfig: p.config})
	return r.GetContainerId(), err
}

func (p *testPod) create(c *cri.ContainerConfig) string {
	p.n.t.Helper()
	id, err := p.tryCreate(c)
	if err != nil {
		p.n.t.Fatalf("CreateContainer: %v", err)
	}
	return id
}

// start creates and starts a container.
func (p *testPod) start(c *cri.ContainerConfig) string {
	p.n.t.Helper()
	id := p.create(c)
	if err := p.n.tryStart(id); err != nil {
		p.n.t.Fatalf("StartContainer: %v", err)
	}
	return id
}

// output runs a container to its end and gives what it wrote to its log.
func (p *testPod) output(c *cri.ContainerConfig) string {
	p.n.t.Helper()
	id := p.start(c)
	s := p.n.exited(id)
	out := p.n.logged(id)
	if s.ExitCode != 0 {
		p.n.t.Fatalf("container %s ended with %d: %s", c.Metadata.Name, s.ExitCode, out)
	}
	return out
}

// tryStart is StartContainer.
func (n *node) tryStart(container string) error {
	_, err := n.StartContainer(n.ctx(), &cri.StartContainerRequest{ContainerId: container})
	return err
}

func (n *node) startIn(id string, sandbox *cri.PodSandboxConfig, c *cri.ContainerConfig) string {
	n.t.Helper()
	return (&testPod{n, id, sandbox}).start(c)
}

func (n *node) stop(container string, grace int64) {
	n.t.Helper()
	if _, err := n.StopContainer(n.ctx(), &cri.StopContainerRequest{ContainerId: container, Timeout: grace}); err != nil {
		n.t.Fatalf("StopContainer: %v", err)
	}
}

// logged gives the text of a container's log without the CRI's frame: all of it, or as far as it is written where the container runs still.
func (n *node) logged(container string) string {
	n.t.Helper()
	s := n.status(container)
	ended := s.State == cri.ContainerState_CONTAINER_EXITED
	if ended {
		n.wholeLog(container)
	}
	text, err := os.ReadFile(s.LogPath)
	if err != nil {
		n.t.Fatal(err)
	}
	if !ended {
		text = text[:bytes.LastIndexByte(text, '\n')+1] // a write may be half done
	}
	var all strings.Builder
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(line, " ", 4)
		if len(fields) != 4 {
			n.t.Fatalf("log line %q", line)
		}
		if fields[2] == "P" {
			fields[3] = strings.TrimSuffix(fields[3], "\n")
		}
		all.WriteString(fields[3])
	}
	return all.String()
}

// wholeLog waits until all that a container wrote which has ended is in its log. pause tells of the end before that where the log writer is held up for more than 50 ms;
// behind the last line it closes the file.
func (n *node) wholeLog(container string) {
	n.t.Helper()
	r, err := n.ContainerStatus(n.ctx(), &cri.ContainerStatusRequest{ContainerId: container, Verbose: true})
	var info struct{ SandboxID string }
	if err == nil {
		err = json.Unmarshal([]byte(r.Info["info"]), &info)
	}
	if err != nil {
		n.t.Fatalf("ContainerStatus: %v", err)
	}
	pod, err := n.PodSandboxStatus(n.ctx(), &cri.PodSandboxStatusRequest{PodSandboxId: info.SandboxID, Verbose: true})
	var pause seen // without a pid where it has ended
	if err == nil {
		err = json.Unmarshal([]byte(pod.Info["info"]), &pause)
	}
	if err != nil {
		n.t.Fatalf("PodSandboxStatus: %v", err)
	}
	n.soon("all is in "+r.Status.LogPath, func() bool { return !hasOpen(pause.PID, r.Status.LogPath) })
}

// hasOpen says whether a process has the file at path open.
func hasOpen(pid int, path string) bool {
	file, err := os.Stat(path)
	if err != nil {
		return false
	}
	open, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	return slices.ContainsFunc(open, func(fd string) bool {
		other, err := os.Stat(fd)
		return err == nil && os.SameFile(file, other)
	})
}

// soon polls for what is to become true.
func (n *node) soon(what string, ok func() bool) {
	n.t.Helper()
	for deadline := time.Now().Add(hangTime); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			n.t.Fatalf("not within %v: %s", hangTime, what)
		}
	}
}

func contains(text, part string) bool { return strings.Contains(text, part) }

// fails checks an error's code and that its message names what it is about.
func (n *node) fails(err error, code codes.Code, names ...string) {
	n.t.Helper()
	if status.Code(err) != code {
		n.t.Errorf("error %v, want %v", err, code)
		return
	}
	for _, name := range names {
		if !contains(status.Convert(err).Message(), name) {
			n.t.Errorf("error %q does not name %q", status.Convert(err).Message(), name)
		}
	}
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
func (n *node) exited(container string) (s *cri.ContainerStatus) {
	n.t.Helper()
	n.soon("the end of container "+container, func() bool {
		s = n.status(container)
		return s.State == cri.ContainerState_CONTAINER_EXITED
	})
	return s
}

func (n *node) exec(container string, args ...string) (string, int32) {
	n.t.Helper()
	r, err := n.ExecSync(n.ctx(), &cri.ExecSyncRequest{ContainerId: container, Cmd: args, Timeout: int64(hangTime / time.Second)})
	if err != nil {
		n.t.Fatalf("ExecSync %v: %v", args, err)
	}
	return string(r.Stdout) + string(r.Stderr), r.ExitCode
}

func TestPodComesUp(t *testing.T) {
	n := commonNode(t)
	sandbox := n.sandbox("web")
	pod := n.run(sandbox)
	c := n.startIn(pod, sandbox, container("app", "sh", "-c", "trap 'exit 3' TERM; echo hello; while :; do sleep 0.05; done"))
	if s := n.status(c); s.State != cri.ContainerState_CONTAINER_RUNNING {
		t.Fatalf("state %v", s)
	}
	out, code := n.exec(c, "sh", "-c", "hostname; id -u; echo err >&2; exit 4")
	if out != "web\n0\nerr\n" || code != 4 {
		t.Errorf("exec: %q, %d", out, code)
	}
	n.says(c, "hello")
	n.stop(c, 20)
	if s := n.status(c); s.ExitCode != 3 || s.Reason != "Error" || s.State != cri.ContainerState_CONTAINER_EXITED {
		t.Errorf("status after stop: %v", s)
	}
	n.wholeLog(c)
	log, err := os.ReadFile(n.status(c).LogPath)
	if err != nil || !strings.HasSuffix(string(log), " stdout F hello\n") {
		t.Errorf("log %q, %v", log, err)
	}
}
